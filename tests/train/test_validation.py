import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.train.checkpoint import Epoch
from components.train.curves import best_epoch
from components.train.fit import train
from components.train.settings import TrainSettings
from tests.train.conftest import Prepared


def test_a_model_of_ratings_is_kept_at_its_lowest_rmse_and_any_other_at_its_highest_ndcg() -> None:
    rmse, ndcg = [1.0, 0.8, 0.9, 0.8], [0.1, 0.2, 0.3, 0.3]
    curve = [Epoch(1.0, n, 1.0, 1, r) for r, n in zip(rmse, ndcg, strict=True)]
    assert best_epoch(curve) == 1
    assert best_epoch([Epoch(1.0, n, 1.0, 1) for n in ndcg]) == 2
    assert best_epoch([Epoch(1.0, math.nan, 1.0, 1)] * 3) == 2


def test_training_stops_by_the_rmse_that_the_saved_model_has_on_the_eval_split(
    rated: Prepared, tmp_path: Path
) -> None:
    # A step size at which the error soon grows again.
    chosen = {"epochs": 30, "patience": 2, "learning_rate": 0.1, "batch_users": 24, "l2": 0.0}
    summary = train(
        **rated.inputs, **rated.outputs(tmp_path), checkpoint_root="",
        settings=TrainSettings(model="rating_factorization", hyperparameters=json.dumps(chosen)),
    )  # fmt: skip
    curve = [epoch.rmse for epoch in summary.curve]
    assert len(curve) < 30 and summary.best_epoch == len(curve) - 2
    assert summary.rmse == min(curve)
    past = pl.read_parquet(rated.folder / "events" / "train").group_by("user").agg("item")
    asked = pl.read_parquet(rated.folder / "events" / "eval").join(past, on="user", how="left")
    history = tf.ragged.constant(asked["item_right"].fill_null([]).to_list(), dtype=tf.string)
    answer = tf.saved_model.load(str(tmp_path / "model")).signatures["rating"](
        user=tf.constant(asked["user"].to_list()),
        history=history.to_tensor(),
        item=tf.constant(asked["item"].to_list()),
    )["rating"]
    scale = pl.read_parquet(rated.folder / "events" / "train")["rating"].drop_nulls()
    assert scale.min() <= answer.numpy().min() and answer.numpy().max() <= scale.max()
    error = answer.numpy() - asked["rating"].to_numpy()
    assert np.sqrt(np.mean(error**2)) == pytest.approx(summary.rmse, rel=1e-4)
    assert "RMSE" in (tmp_path / "t.html").read_text()
