from typing import Any

import numpy as np
import polars as pl
import pytest

from components.train.event_log import EventLog, write_event_log
from components.train.feed import epoch_batches, prefetch
from components.train.interactions import Interactions
from components.train.items import ItemTable, build_item_table
from components.train.models.registry import find_model
from components.train.shares import Share
from components.train.tables import FeatureGraph
from components.train.validation import make_questions


@pytest.fixture(scope="module")
def logs(shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[int, EventLog]:
    """The same log in one shard and in many."""
    splits = shop_artifacts.folder / "events"
    graph = FeatureGraph(shop_artifacts.folder / "transform_graph")
    items = build_item_table(shop_artifacts.folder / "catalogue", splits / "train", graph=graph)

    def write(shard_events: int) -> EventLog:
        return write_event_log(
            tmp_path_factory.mktemp("log"),
            train_dir=splits / "train",
            eval_dir=splits / "eval",
            graph=graph,
            items=items,
            shard_events=shard_events,
        )

    return {1: write(10**6), 7: write(-(-len(pl.read_parquet(splits / "train")) // 6))}


@pytest.fixture(scope="module")
def items(shop_artifacts: Any) -> ItemTable:
    graph = FeatureGraph(shop_artifacts.folder / "transform_graph")
    train_dir = shop_artifacts.folder / "events" / "train"
    return build_item_table(shop_artifacts.folder / "catalogue", train_dir, graph=graph)


def by_user(shards: list[Interactions]) -> dict[int, list[tuple[int, int]]]:
    """Each user's (time, item) in order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for events in shards:
        for user in np.unique(events.user):
            own = events.user == user
            assert user not in found  # no user is parted
            rows = zip(events.time_us[own].tolist(), events.item[own].tolist(), strict=True)
            found[int(user)] = list(rows)
    return found


def test_the_shards_hold_each_users_events_in_the_order_of_the_log(
    logs: dict[int, EventLog], items: ItemTable, shop_artifacts: Any
) -> None:
    frame = pl.read_parquet(shop_artifacts.folder / "events" / "train")
    row = {name.decode(): place for place, name in enumerate(items.names)}
    expected = sorted(
        [
            (int(time.timestamp() * 1e6 + 0.5), row[item])
            for time, item in own.sort("time", maintain_order=True).select("time", "item").rows()
        ]
        for _, own in frame.with_columns(pl.col("time").dt.replace_time_zone("UTC")).group_by(
            "user", maintain_order=True
        )
    )
    for log in logs.values():
        assert log.events == len(frame)
        assert sorted(by_user(list(log)).values()) == expected
    assert len(logs[1]) == 1
    assert len(logs[7]) == 7


def test_questions_do_not_depend_on_the_shards(logs: dict[int, EventLog]) -> None:
    asked = [make_questions(log, users=10**6, history_length=9, seed=1) for log in logs.values()]
    told = [
        sorted(
            (int(u), h.tolist(), a.tolist())
            for u, h, a in zip(q.user, q.history, q.answers, strict=True)
        )
        for q in asked
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 100
    drawn = make_questions(logs[7], users=40, history_length=9, seed=1)
    assert len(drawn.user) == len(drawn.answers) == 40
    some = {(int(u), tuple(a)) for u, a in zip(drawn.user, drawn.answers, strict=True)}
    assert some < {(u, tuple(a)) for u, _, a in told[1]}


@pytest.mark.parametrize("name", ["two_tower", "sasrec", "matrix_factorization"])
def test_every_label_is_seen_once_an_epoch_however_it_is_shared(
    name: str, logs: dict[int, EventLog], items: ItemTable
) -> None:
    entry = find_model(name)
    model = entry.build(items, entry.settings(), seed=1)
    labels = {}
    for shards, log in logs.items():
        parts = list(epoch_batches(model, log, seed=1, epoch=2))
        labels[shards] = sum(part.labels for (part,) in parts)
        again = list(epoch_batches(model, log, seed=1, epoch=2))
        other = list(epoch_batches(model, log, seed=1, epoch=3))
        assert all(map(same, parts, again))
        assert not all(map(same, parts, other))
        halves = list(epoch_batches(model, log, seed=1, epoch=2, shares=(Share(0, 2), Share(1, 2))))
        for (whole,), (left, right) in zip(parts, halves, strict=True):
            assert left.labels == right.labels == whole.labels
            if name != "sasrec":
                np.testing.assert_array_equal(
                    np.concatenate([left.history, right.history]), whole.history
                )
                assert len(left.query) + len(right.query) == whole.labels
                assert right.first == len(left.query)
    assert labels[1] == labels[7]


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))


def test_the_thread_of_batches_passes_an_error_on_and_ends_with_its_reader() -> None:
    ended = []

    def numbers(fail_at: int) -> Any:
        try:
            for number in range(100):
                if number == fail_at:
                    raise ValueError("no more")
                yield number
        finally:
            ended.append(fail_at)

    read = []
    with pytest.raises(ValueError, match="no more"):
        for number in prefetch(numbers(20)):
            read.append(number)
    assert read == list(range(20))
    reader = prefetch(numbers(99))
    assert next(reader) == 0
    reader.close()
    assert ended == [20, 99]
