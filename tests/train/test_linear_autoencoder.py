import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse
import tensorflow as tf

from components.errors import InputError
from components.train.closed_form import refuse_too_many_items
from components.train.fit import TrainSummary, train
from components.train.interactions import Interactions
from components.train.models.linear_autoencoder import denoising_weights, taken_items
from components.train.settings import TrainSettings
from tests.train.test_training import next_step_ranks


def run(prepared: Any, folder: Path, **hyperparameters: float) -> TrainSummary:
    return train(
        **prepared.inputs,
        **prepared.outputs(folder),
        checkpoint_root="",
        settings=TrainSettings(
            model="linear_autoencoder", hyperparameters=json.dumps(hyperparameters)
        ),
    )


def answers(folder: Path) -> dict[str, Any]:
    signature = tf.saved_model.load(str(folder / "model")).signatures["recommend"]
    found = signature(
        user=tf.constant(["u1", "nobody"]),
        history=tf.constant([["i3", "i5"], ["", ""]]),
        k=tf.constant([200, 200], tf.int64),
    )
    return {name: value.numpy() for name, value in found.items()}


@pytest.fixture(scope="module")
def fitted(
    shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainSummary]:
    folder = tmp_path_factory.mktemp("fitted")
    return folder, run(shop_artifacts, folder, l2=20, recency=1)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_weights_are_those_that_reproduce_best(dropout: float) -> None:
    random = np.random.default_rng(0)
    taken = (random.random((40, 6)) < 0.4).astype(np.float64)
    weights, unexplained = denoising_weights(scipy.sparse.csr_array(taken), l2=3.0, dropout=dropout)
    for item in range(6):
        # Column j of W is the ridge regression of item j on the other items.
        others = np.delete(taken, item, axis=1)
        penalty = 3.0 * np.eye(5) + dropout / (1 - dropout) * np.diag((others**2).sum(axis=0))
        ridge = np.linalg.solve(others.T @ others + penalty, others.T @ taken[:, item])
        np.testing.assert_allclose(np.delete(weights[:, item], item), ridge, rtol=1e-5)
        assert weights[item, item] == 0
    rest = ((taken - taken @ weights) ** 2).sum() / (taken**2).sum()
    assert unexplained == pytest.approx(rest, rel=1e-5)


def test_the_planted_structure_is_learned_at_once(shop_artifacts: Any, fitted: Any) -> None:
    assert (fitted[1].epochs, fitted[1].best_epoch) == (1, 1)
    ranks, popularity = next_step_ranks(shop_artifacts, fitted[0] / "model")
    assert np.mean(1 / ranks) > 1.2 * np.mean(1 / popularity)


def test_a_saved_model_answers_as_the_formula_says(shop_artifacts: Any, fitted: Any) -> None:
    found = answers(fitted[0])
    train_split = pl.read_parquet(shop_artifacts.folder / "events" / "train")
    pairs = train_split.select("user", "item").unique()
    taken = pairs.with_columns(one=1.0).pivot("item", index="user", values="one").fill_null(0)
    names = taken.columns[1:]
    x = taken.select(names).to_numpy()
    inverse = np.linalg.inv(x.T @ x + 20 * np.eye(len(names)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.3)  # the weight of a repeat
    counts = train_split["item"].value_counts()
    counts = dict(zip(counts["item"], counts["count"], strict=True))
    # "i5" is the last event, with age 0 and weight 1; "i3" has age 1 and weight 1 / 2.
    scores = weights[names.index("i5")] + 0.5 * weights[names.index("i3")]
    scores += [0.001 * counts[name] / max(counts.values()) for name in names]
    expected = dict(zip(names, scores, strict=True))
    for item, score in zip(found["items"][0], found["scores"][0], strict=True):
        assert score == pytest.approx(expected.get(item.decode(), 0.0), abs=1e-5)


def test_a_stranger_is_given_the_popular_items(shop_artifacts: Any, fitted: Any) -> None:
    events = pl.read_parquet(shop_artifacts.folder / "events" / "train")["item"]
    counts = events.value_counts().sort("count", descending=True)
    first = [item.decode() for item in answers(fitted[0])["items"][1][: len(counts)]]
    by_rank = dict(zip(counts["item"], counts["count"], strict=True))
    assert [by_rank[item] for item in first] == counts["count"].to_list()


def test_items_beyond_the_limit_keep_their_popularity_and_are_counted(
    shop_artifacts: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(shop_artifacts, tmp_path, max_items=50)
    bought = pl.read_parquet(shop_artifacts.folder / "events" / "train")["item"].value_counts()
    said = f"{len(bought) - 50} of {len(bought)} items bought"
    assert said in caplog.text
    assert said in (tmp_path / "t.html").read_text()
    stranger = answers(tmp_path)["items"][1]
    by_rank = dict(zip(bought["item"], bought["count"], strict=True))
    order = [by_rank.get(item.decode(), 0) for item in stranger]
    assert order == sorted(order, reverse=True)


def test_a_catalogue_without_a_new_item_is_exported(shop_artifacts: Any, tmp_path: Path) -> None:
    shutil.copytree(shop_artifacts.folder, tmp_path / "sold")
    bought = pl.read_parquet(tmp_path / "sold" / "events" / "train")["item"].unique()
    file = tmp_path / "sold" / "catalogue" / "part-00000.parquet"
    pl.read_parquet(file).filter(pl.col("item").is_in(bought.implode())).write_parquet(file)
    run(type(shop_artifacts)(tmp_path / "sold"), tmp_path)
    items = answers(tmp_path)["items"][0].astype(str)
    assert sorted(items) == sorted(bought)


def test_a_size_that_no_memory_holds_is_refused_in_one_line() -> None:
    # 10,000² cells of 28 bytes are 2.8 GB; √(1e9 / 28) = 5,976.1.
    with pytest.raises(InputError, match="10,000 items, 2.8 GB .* at most 5,976 with 1.0 GB"):
        refuse_too_many_items(10_000, bytes_per_cell=28, memory_bytes=10**9)
    refuse_too_many_items(5_976, bytes_per_cell=28, memory_bytes=10**9)


def test_weights_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="l2: found 0, .* no inverse, expected a larger one"):
        denoising_weights(scipy.sparse.csr_array(np.ones((3, 2))), l2=0.0, dropout=0.0)


def test_dropout_is_the_penalty_of_a_mean_over_many_masks() -> None:
    random = np.random.default_rng(1)
    taken = (random.random((60, 4)) < 0.5).astype(np.float64)
    weights, _ = denoising_weights(scipy.sparse.csr_array(taken), l2=0.001, dropout=0.3)
    copies = np.tile(taken, (20_000, 1))
    # Kept entries stand for the dropped ones, so that a mask's mean is X itself.
    masked = copies * (random.random(copies.shape) >= 0.3) / 0.7
    for item in range(4):
        others = np.delete(masked, item, axis=1)
        best = np.linalg.lstsq(others, copies[:, item], rcond=None)[0]
        np.testing.assert_allclose(np.delete(weights[:, item], item), best, atol=0.005)


def test_an_active_user_weighs_less() -> None:
    # Users 0, 1 and 3 take 1, 4 and 2 items of the 5 with weights; user 2 takes a later one alone.
    owner, item = np.array([[0, 1, 1, 1, 1, 1, 2, 3, 3], [0, 0, 1, 1, 2, 3, 5, 3, 4]], np.int32)
    events = Interactions(owner, owner, item, np.arange(9))
    taken = taken_items(events, items=5, activity=0.5).toarray()
    weight = np.array([1.0, 4**-0.5, 2**-0.5])
    weight /= weight.mean()
    np.testing.assert_allclose(taken[[0, 1, 3]].max(axis=1) ** 2, weight, rtol=1e-6)
    assert (np.count_nonzero(taken, axis=1) == [1, 4, 0, 2]).all()
    assert (taken_items(events, items=5, activity=0.0).toarray()[taken > 0] == 1).all()
