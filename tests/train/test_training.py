import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import tensorflow as tf

from components.errors import InputError
from components.train.fit import TrainSummary, train
from components.train.settings import TrainSettings

SMALL = '{"epochs": 4, "patience": 4, "batch_baskets": 128, "gap_days": 0}'


def run(
    prepared: Any, folder: Path, *, hyperparameters: str = SMALL, **settings: Any
) -> TrainSummary:
    return train(
        **prepared.inputs,
        **prepared.outputs(folder),
        checkpoint_root="",
        settings=TrainSettings(hyperparameters=hyperparameters, **settings),
    )


@pytest.fixture(scope="module")
def trained(
    shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainSummary]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, run(shop_artifacts, folder)


def next_step_ranks(prepared: Any, model_dir: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Ranks of each user's first item after the train split, by the model and by popularity."""
    before = pl.read_parquet(prepared.folder / "events" / "train")
    after = pl.read_parquet(prepared.folder / "events" / "eval").group_by("user").first()
    past = before.group_by("user").agg(pl.col("item").tail(20))
    asked = after.select("user", true="item").join(past, on="user").sort("user")
    padded = [[""] * (20 - len(h)) + list(h) for h in asked["item"].to_list()]
    evaluate = tf.saved_model.load(str(model_dir)).signatures["evaluate"]
    ranks = evaluate(
        user=tf.constant(asked["user"].to_list()),
        history=tf.constant(padded),
        item=tf.constant(asked["true"].to_list()),
    )["rank"].numpy()
    popular = before["item"].value_counts(sort=True)["item"].to_list()
    place = {item: rank for rank, item in enumerate(popular, start=1)}
    return ranks, np.array([place.get(item, 201) for item in asked["true"]])


def test_the_planted_structure_is_learned(shop_artifacts: Any, trained: Any) -> None:
    ranks, popularity = next_step_ranks(shop_artifacts, trained[0] / "model")
    # Half of all steps are the planted successor of the last item, which popularity cannot see.
    assert np.mean(1 / ranks) > 1.5 * np.mean(1 / popularity)


def test_nothing_is_learned_from_shuffled_labels(shuffled_artifacts: Any, tmp_path: Path) -> None:
    run(shuffled_artifacts, tmp_path)
    ranks, popularity = next_step_ranks(shuffled_artifacts, tmp_path / "model")
    assert np.mean(1 / ranks) < 1.15 * np.mean(1 / popularity)


def test_the_three_signatures_agree(trained: Any) -> None:
    model = tf.saved_model.load(str(trained[0] / "model"))
    assert sorted(model.signatures) == ["evaluate", "recommend", "serving_default"]
    user, history = tf.constant(["u1"]), tf.constant([["i3", "", "i5"]])
    best = model.signatures["recommend"](user=user, history=history, k=tf.constant([5], tf.int64))
    for place in range(5):
        item = best["items"][:, place]
        score = model.signatures["serving_default"](user=user, history=history, item=item)["scores"]
        rank = model.signatures["evaluate"](user=user, history=history, item=item)["rank"]
        np.testing.assert_allclose(score, best["scores"][:, place], rtol=1e-5)
        assert rank.numpy().tolist() == [place + 1]


def test_padding_and_batch_do_not_change_an_answer(trained: Any) -> None:
    recommend = tf.saved_model.load(str(trained[0] / "model")).signatures["recommend"]
    alone = recommend(
        user=tf.constant(["u2"]), history=tf.constant([["i3", "i5"]]), k=tf.constant([4], tf.int64)
    )
    batch = recommend(
        user=tf.constant(["u1", "u2"]),
        history=tf.constant([["i9", "i8", "i7", "i6"], ["", "i3", "", "i5"]]),
        k=tf.constant([2, 4], tf.int64),
    )
    assert batch["items"][1].numpy().tolist() == alone["items"][0].numpy().tolist()
    assert batch["items"][0].numpy().tolist()[2:] == [b"", b""]
    assert np.isneginf(batch["scores"][0].numpy()[2:]).all()


def test_strangers_are_answered(trained: Any) -> None:
    model = tf.saved_model.load(str(trained[0] / "model"))
    user, history = tf.constant(["nobody", ""]), tf.constant([["ghost"], [""]])
    best = model.signatures["recommend"](
        user=user, history=history, k=tf.constant([500, 0], tf.int64)
    )
    assert best["items"].shape == (2, 200)  # clipped to the items there are
    assert np.isfinite(best["scores"][0]).all()
    item = tf.constant(["ghost", ""])
    rank = model.signatures["evaluate"](user=user, history=history, item=item)["rank"]
    assert rank.numpy().tolist() == [201.0, 201.0]
    score = model.signatures["serving_default"](user=user, history=history, item=item)["scores"]
    assert np.isfinite(score).all()
    nothing = tf.zeros([2, 0], tf.string)
    assert model.signatures["evaluate"](user=user, history=nothing, item=item)["rank"].shape == (2,)


def test_an_item_never_bought_has_a_place_in_the_index(shop_artifacts: Any, trained: Any) -> None:
    bought = set(pl.read_parquet(shop_artifacts.folder / "events" / "train")["item"])
    catalogue = pl.read_parquet(shop_artifacts.folder / "catalogue")["item"]
    new = next(item for item in catalogue if item not in bought)
    evaluate = tf.saved_model.load(str(trained[0] / "model")).signatures["evaluate"]
    rank = evaluate(
        user=tf.constant(["u1"]), history=tf.constant([["i3"]]), item=tf.constant([new])
    )
    assert 1 <= float(rank["rank"][0]) <= 200


def test_ranks_of_a_large_batch_are_those_of_its_rows(trained: Any) -> None:
    evaluate = tf.saved_model.load(str(trained[0] / "model")).signatures["evaluate"]
    users, items = [f"u{n % 300}" for n in range(600)], [f"i{n % 200}" for n in range(600)]
    history = [[f"i{n % 190}"] for n in range(600)]
    whole = evaluate(
        user=tf.constant(users), history=tf.constant(history), item=tf.constant(items)
    )["rank"]
    for row in (0, 255, 256, 599):
        one = evaluate(
            user=tf.constant([users[row]]),
            history=tf.constant([history[row]]),
            item=tf.constant([items[row]]),
        )["rank"]
        np.testing.assert_allclose(one[0], whole[row], atol=1)  # rounding may swap near-ties


def test_matrix_factorization_trains_and_answers(shop_artifacts: Any, tmp_path: Path) -> None:
    summary = run(shop_artifacts, tmp_path, model="matrix_factorization")
    assert summary.curve[-1].loss < summary.curve[0].loss
    recommend = tf.saved_model.load(str(tmp_path / "model")).signatures["recommend"]
    best = recommend(
        user=tf.constant(["u1"]), history=tf.constant([[""]]), k=tf.constant([3], tf.int64)
    )
    assert len(set(best["items"][0].numpy())) == 3


def test_the_same_seed_gives_the_same_curve(
    shop_artifacts: Any, trained: Any, tmp_path: Path
) -> None:
    again = run(shop_artifacts, tmp_path)
    assert [e.loss for e in again.curve] == [e.loss for e in trained[1].curve]
    assert [e.ndcg for e in again.curve] == [e.ndcg for e in trained[1].curve]


def test_a_killed_training_goes_on_to_the_same_result(
    shop_artifacts: Any, start_training: Callable[..., Any], tmp_path: Path
) -> None:
    checkpoints = tmp_path / "checkpoints"
    first = start_training(shop_artifacts, tmp_path / "run", checkpoints)
    while not list(checkpoints.glob("*/progress.npz")):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    first.kill()
    first.wait()
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    second = start_training(shop_artifacts, tmp_path / "run", checkpoints)
    _, log = second.communicate(timeout=300)
    assert second.returncode == 0, log
    assert "going on after epoch" in log
    assert not list(checkpoints.glob("*"))  # removed after success
    whole = run(
        shop_artifacts,
        tmp_path / "whole",
        hyperparameters='{"epochs": 4, "patience": 4, "batch_baskets": 128}',
    )
    assert f"NDCG@10 {whole.curve[-1].ndcg:.4f}" in log
    assert f"epoch 4, loss {whole.curve[-1].loss:.4f}" in log


def test_an_empty_train_split_is_refused(shop_artifacts: Any, tmp_path: Path) -> None:
    shutil.copytree(shop_artifacts.folder, tmp_path / "empty")
    file = tmp_path / "empty" / "events" / "train" / "part-00000.parquet"
    pl.read_parquet(file).head(0).write_parquet(file)
    empty = type(shop_artifacts)(tmp_path / "empty")
    with pytest.raises(InputError, match="0 events, expected at least one"):
        run(empty, tmp_path / "run")
