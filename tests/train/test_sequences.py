import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from components.errors import InputError
from components.train.event_log import write_event_log
from components.train.export import export_model
from components.train.interactions import Interactions
from components.train.items import ItemTable, build_item_table
from components.train.loop import Trainer
from components.train.models.registry import MODELS, find_model
from components.train.retrieval import Stepped
from components.train.sequences import SequenceModel, compact, cut_sequences, queries
from components.train.tables import FeatureGraph

ITEMS = 20
SEQUENCE_MODELS = ["gru4rec", "sasrec"]
STEPPED = [name for name, entry in MODELS.items() if issubclass(entry.build, Stepped)]


def log_of(sequences: list[npt.NDArray[Any]]) -> Interactions:
    owner = np.repeat(np.arange(len(sequences), dtype=np.int32), [len(s) for s in sequences])
    time_us = np.concatenate([np.arange(len(s), dtype=np.int64) for s in sequences])
    item = np.concatenate(sequences).astype(np.int32)
    return Interactions(owner, owner, item, time_us, rating=(item % 5 + 1).astype(np.float32))


def cycles(*, users: int, events: int) -> Interactions:
    """Item i is always followed by i + 1 mod n: all items are equally popular."""
    starts = np.random.default_rng(0).permutation(users) % ITEMS
    return log_of([(start + np.arange(events)) % ITEMS for start in starts])


def table(events: Interactions) -> ItemTable:
    rows = np.arange(max(ITEMS, events.item.max() + 1), dtype=np.int32)
    return ItemTable(
        names=np.array([b"%d" % row for row in rows], dtype=object),
        vocabulary=len(rows),
        ids={"item": rows},
        tokens={},
        numbers=np.zeros((len(rows), 0), np.float32),
        sizes={"user": int(events.user.max()) + 1, "item": len(rows) + 1},
        counts=np.bincount(events.item, minlength=len(rows)),
    )


def build(name: str, events: Interactions, **settings: Any) -> Stepped:
    entry = find_model(name)
    tf.keras.utils.set_random_seed(1)
    model = entry.build(table(events), entry.settings(**settings), seed=1)
    model.prepare([events])
    return model


def take_epoch(trainer: Trainer, events: Interactions, epoch: int) -> list[float]:
    return [float(trainer.step(parts)) for parts in trainer.batches([events], seed=1, epoch=epoch)]


def test_every_event_but_the_first_of_a_user_is_predicted_once_and_in_its_order() -> None:
    lengths = (1, 2, 3, 4, 5, 8, 9)
    # Numbered through, so that an item is followed by its number plus one, within its user alone.
    first = np.cumsum((0, *lengths))
    events = log_of([np.arange(a, b) for a, b in zip(first, first[1:], strict=False)])
    model = build("sasrec", events, history_length=3, batch_events=5)
    following = []
    for (batch,) in model.epoch_batches(events, seed=1, epoch=0):
        seen, item = batch.item[:, :-1], batch.item[:, 1:]
        assert (item[seen >= 0] == seen[seen >= 0] + 1).all()
        following += item[seen >= 0].tolist()
        assert batch.labels == (seen >= 0).sum()
    assert sorted(following) == sorted(set(events.item.tolist()) - set(first.tolist()))


def test_pieces_are_cut_from_the_end() -> None:
    # 6 events: 5 predictions, 3 in the last piece (items 2…5), 2 in the one before (items 0…2).
    start, end = cut_sequences(log_of([np.arange(6), np.arange(1)]), length=3)
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == [(2, 6), (0, 3)]


def test_what_is_taken_at_one_moment_is_predicted_from_before_it() -> None:
    events = dataclasses.replace(
        log_of([np.arange(6), np.arange(2)]), time_us=np.array([0, 0, 1, 1, 1, 2, 2, 2])
    )
    start, end = np.array([0, 6]), np.array([6, 8])
    found = queries(events, start, end, length=8, baskets=True)
    assert found.tolist() == [[-1, -1, -1, 3, 3, 3, 6], [-1] * 7]
    found = queries(events, start, end, length=8, baskets=False)
    assert found.tolist() == [[-1, -1, 2, 3, 4, 5, 6], [-1] * 6 + [6]]
    assert queries(events, start[:1], end[:1], length=6, baskets=True).tolist() == [
        [-1, 1, 1, 1, 4]
    ]


def test_a_batch_in_which_nothing_comes_before_anything_is_left_out() -> None:
    events = log_of([np.arange(4), np.arange(9)])
    # The first user takes all at one time, the second one thing after the other.
    events = dataclasses.replace(events, time_us=np.where(events.owner == 0, 0, events.time_us))
    model = build("sasrec", events, batch_events=1, same_moment="basket")
    assert [batch.labels for (batch,) in model.epoch_batches(events, seed=1, epoch=0)] == [8]
    one_time = dataclasses.replace(events, time_us=np.zeros_like(events.time_us))
    with pytest.raises(InputError, match="no user with two baskets, expected sequences"):
        model.prepare([one_time])


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_a_basket_is_learned_from_the_one_before_it(name: str) -> None:
    # A visit takes 2i and 2i + 1, the next 2i + 2 and 2i + 3. Event by event, half of what follows
    # is the other item of the same visit; what a visit asks for is the next one's.
    starts = np.random.default_rng(0).permutation(200) * 2 % ITEMS
    ordered = log_of([(start + np.arange(8)) % ITEMS for start in starts])
    events = dataclasses.replace(ordered, time_us=ordered.time_us // 2)
    model = build(
        name, events, dimension=32, batch_events=256, learning_rate=0.005, dropout=0.1,
        same_moment="basket",
    )  # fmt: skip
    trainer = Trainer(model, model.settings)
    for epoch in range(12):
        take_epoch(trainer, events, epoch)
    pair = np.arange(0, ITEMS, 2)[:, None]
    history = (pair + np.arange(4)) % ITEMS
    scores = model.score_all(tf.zeros([len(pair)], tf.int32), tf.constant(history), *model.index())
    best = np.sort(np.argsort(scores, axis=1)[:, -2:], axis=1)
    assert (best == np.sort((pair + np.array([4, 5])) % ITEMS, axis=1)).mean() > 0.9


@pytest.mark.parametrize("name", ["gru4rec", "sasrec", "slist"])
def test_a_log_without_sequences_is_refused(name: str) -> None:
    events = log_of([np.arange(1), np.arange(1)])
    model = find_model(name).build(table(events), find_model(name).settings(), seed=1)
    with pytest.raises(InputError, match="no user with two events, expected sequences"):
        model.fit_events(events) if name == "slist" else model.prepare([events])


@pytest.mark.parametrize("name", STEPPED)
def test_a_shard_without_train_events_makes_no_batch(name: str) -> None:
    # Shards are made by a hash of the users: few users with many events leave some of them empty.
    events, nobody = cycles(users=3, events=4), log_of([np.arange(0)])
    model = build(name, events)
    model.prepare([nobody, events])
    assert list(model.epoch_batches(nobody, seed=1, epoch=0)) == []


@pytest.mark.parametrize("name", STEPPED)
def test_the_largest_seed_makes_batches_in_any_epoch(name: str) -> None:
    events, largest = cycles(users=3, events=4), 2**31 - 1
    model = find_model(name).build(table(events), find_model(name).settings(), seed=largest)
    model.prepare([events])
    assert len(list(model.epoch_batches(events, seed=largest, epoch=9))) == 1


def test_the_recurrent_network_never_takes_cudnns_kernel() -> None:
    """On a GPU Keras would take it by itself; it refuses padding at the front, as it is here."""
    model = build("gru4rec", cycles(users=3, events=4))
    assert model.gru.use_cudnn is False


def test_padding_anywhere_is_brought_to_the_front() -> None:
    history = tf.constant([[-1, 7, -1, 9, 8], [5, -1, -1, -1, -1]])
    assert compact(history, length=50).numpy().tolist() == [[7, 9, 8], [-1, -1, 5]]
    assert compact(history, length=2).numpy().tolist() == [[9, 8], [-1, 5]]
    assert compact(tf.zeros([2, 0], tf.int32), length=2).numpy().tolist() == [[-1], [-1]]


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_what_comes_later_is_not_seen(name: str) -> None:
    model = build(name, cycles(users=20, events=5))
    before = model.hidden(tf.constant([[-1, 3, 4, 5]]), noise=None)
    after = model.hidden(tf.constant([[-1, 3, 4, 9]]), noise=None)
    np.testing.assert_array_equal(before[:, 1:3], after[:, 1:3])
    assert not np.allclose(before[:, 3], after[:, 3])


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_the_order_of_events_is_learned(name: str) -> None:
    events = cycles(users=200, events=8)
    model = build(name, events, dimension=32, batch_events=256, learning_rate=0.005, dropout=0.1)
    trainer = Trainer(model, model.settings)
    for epoch in range(12):
        take_epoch(trainer, events, epoch)
    history = (np.arange(ITEMS)[:, None] + np.arange(3)) % ITEMS
    scores = model.score_all(tf.zeros([ITEMS], tf.int32), tf.constant(history), *model.index())
    # Every item is as popular as another: popularity finds one in twenty.
    right = np.argmax(scores, axis=1) == (np.arange(ITEMS) + 3) % ITEMS
    assert right.mean() > 0.9


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_without_a_history_the_popular_items_come_first(name: str) -> None:
    events = log_of([np.repeat(np.arange(ITEMS), np.arange(1, ITEMS + 1))])
    model = build(name, events)
    scores = model.score_all(tf.constant([0]), tf.constant([[-1, -1]]), *model.index())
    assert np.argsort(scores[0])[::-1].tolist() == list(range(ITEMS))[::-1]


@pytest.mark.parametrize("name", STEPPED)
def test_going_on_from_a_saved_state_is_as_if_never_stopped(name: str) -> None:
    events = cycles(users=60, events=6)
    whole = Trainer(build(name, events), find_model(name).settings())
    losses = [take_epoch(whole, events, epoch) for epoch in range(2)]
    first = Trainer(build(name, events), find_model(name).settings())
    assert take_epoch(first, events, 0) == losses[0]
    second = Trainer(build(name, events), find_model(name).settings())
    second.restore(first.state())
    assert take_epoch(second, events, 1) == losses[1]
    for one, other in zip(second.state(), whole.state(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_a_saved_model_answers_as_the_trained_one(
    name: str, shop_artifacts: Any, tmp_path: Path
) -> None:
    splits = shop_artifacts.folder / "events"
    graph = FeatureGraph(shop_artifacts.folder / "transform_graph")
    items = build_item_table(shop_artifacts.folder / "catalogue", splits / "train", graph=graph)
    log = write_event_log(
        tmp_path, train_dir=splits / "train", eval_dir=splits / "eval", graph=graph, items=items
    )
    entry = find_model(name)
    model = entry.build(items, entry.settings(), seed=1)
    assert isinstance(model, SequenceModel)
    take_epoch(Trainer(model, model.settings), log[0], 0)
    export_model(model, items, graph=graph, model_dir=tmp_path / "model")
    recommend = tf.saved_model.load(str(tmp_path / "model")).signatures["recommend"]
    row = {name: number for number, name in enumerate(items.names)}
    history = [["i3", "", "i5", "no such item"], ["", "", "", ""]]
    rows = [[row.get(item.encode(), -1) for item in one] for one in history]
    scores = model.score_all(tf.constant([0, 0]), tf.constant(rows, tf.int32), *model.index())
    best = recommend(
        user=tf.constant(["u1", "nobody"]),
        history=tf.constant(history),
        k=tf.constant([200, 200], tf.int64),
    )
    for query in range(2):
        columns = [row[item] for item in best["items"][query].numpy()]
        np.testing.assert_allclose(best["scores"][query], scores.numpy()[query][columns], rtol=1e-4)
