import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import tensorflow as tf

from components.errors import InputError
from components.train.fit import train
from components.train.settings import TrainSettings
from tests.train.conftest import Prepared

SMALL = {"epochs": 40, "learning_rate": 0.02, "batch_users": 24, "dimension": 4, "l2": 0.02}


def run(prepared: Any, folder: Path) -> None:
    settings = TrainSettings(
        model="rating_factorization", hyperparameters=json.dumps(SMALL), eval_users=0
    )
    train(**prepared.inputs, **prepared.outputs(folder), checkpoint_root="", settings=settings)


@pytest.fixture(scope="module")
def fitted(rated: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    run(rated, folder)
    return folder


def predicted(folder: Path, user: list[str], item: list[str]) -> npt.NDArray[np.float32]:
    signature = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    found: npt.NDArray[np.float32] = signature(
        user=tf.constant(user), history=tf.constant([[""]] * len(user)), item=tf.constant(item)
    )["scores"].numpy()
    return found


def test_the_planted_ratings_are_predicted(rated: Prepared, fitted: Path) -> None:
    known = pl.read_parquet(rated.folder / "events" / "train").drop_nulls()
    test = pl.read_parquet(rated.folder / "events" / "test")
    rating = test["rating"].to_numpy()
    error = predicted(fitted, test["user"].to_list(), test["item"].to_list()) - rating
    spread = rating - known["rating"].mean()
    # The best that biases alone can do leaves the taste: an error of ½.
    assert np.sqrt(np.mean(error**2)) < 0.45 < 0.7 < np.sqrt(np.mean(spread**2))


def test_a_stranger_is_given_the_item_s_own_rating(rated: Prepared, fitted: Path) -> None:
    known = pl.read_parquet(rated.folder / "events" / "train").drop_nulls()
    by_item = known.group_by("item").agg(pl.col("rating").mean(), pl.len()).sort("item")
    found = predicted(fitted, ["nobody"] * len(by_item), by_item["item"].to_list())
    assert np.corrcoef(found, by_item["rating"].to_numpy())[0, 1] > 0.9


def test_a_saved_model_answers_as_it_did(rated: Prepared, fitted: Path, tmp_path: Path) -> None:
    run(rated, tmp_path)
    users, items = [f"u{n}" for n in range(50)], [f"i{n}" for n in range(50)]
    np.testing.assert_allclose(
        predicted(tmp_path, users, items), predicted(fitted, users, items), rtol=1e-6
    )
    model = tf.saved_model.load(str(fitted / "model"))
    best = model.signatures["recommend"](
        user=tf.constant(["u1"]), history=tf.constant([["i3", "i5"]]), k=tf.constant([5], tf.int64)
    )
    one = model.signatures["serving_default"](
        user=tf.constant(["u1"]), history=tf.constant([["i3", "i5"]]), item=best["items"][:, 2]
    )
    np.testing.assert_allclose(one["scores"], best["scores"][:, 2], rtol=1e-5)


def test_a_log_without_ratings_is_refused(shop_artifacts: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rating, expected a column rating with some"):
        run(shop_artifacts, tmp_path)
