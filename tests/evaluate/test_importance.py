"""What a model rests on, of models that were written to rest on one thing."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.evaluate.importance import Importance, measure_importance

USERS = 40
NDCG_OF_3 = 0.5  # 1 / log2(1 + 3)


def save_ranker(folder: Path, *, by: str) -> Path:
    """Rank 1 when the user is known, or "x" is the last event, or "x" is any event; else 3."""
    text, texts = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)

    class Ranker(tf.Module):
        @tf.function(input_signature=[text, texts, text])
        def evaluate(self, user, history, item):
            place = tf.range(1, tf.shape(history)[1] + 1)
            last = tf.argmax(tf.where(history != "", place, 0), axis=1)
            good = {
                "user": user != "",
                "last": tf.gather(history, last, batch_dims=1) == "x",
                "any": tf.reduce_any(history == "x", axis=1),
            }[by]
            return {"rank": tf.where(good, 1.0, 3.0)}

    model = Ranker()
    tf.saved_model.save(model, str(folder), signatures={"evaluate": model.evaluate})
    return folder


def examples(history: list[str], *, users: int = USERS) -> pl.DataFrame:
    """Two examples a user, all of one history."""
    names = [f"u{n:02}" for n in range(users) for _ in range(2)]
    return pl.DataFrame({"user": names, "item": "x", "history": [history] * len(names)})


def by_part(found: tuple[Importance, ...]) -> dict[str, Importance]:
    return {one.part: one for one in found}


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        # "x" is the last of six events; shuffled, few histories end with it.
        ("user", {"user"}),
        ("last", {"whole history", "last event", "order of the history"}),
        ("any", {"whole history", "last event"}),
    ],
)
def test_the_part_it_rests_on_is_the_only_one_that_matters(
    tmp_path: Path, by: str, parts: set[str]
) -> None:
    model = save_ranker(tmp_path / "model", by=by)
    asked = examples(["a", "b", "c", "d", "e", "x", "", ""])
    found = by_part(measure_importance(model, asked, k=10, seed=1))
    assert {name for name, one in found.items() if one.drop} == parts
    for name in parts - {"order of the history"}:
        # Every example falls from rank 1 to rank 3, so there is no spread.
        assert found[name].drop == found[name].low == found[name].high == pytest.approx(NDCG_OF_3)
        assert found[name].examples == 2 * USERS
    if by == "last":
        order = found["order of the history"]
        # Five of six orders end with something else: 5/6 · 0.5 = 0.417.
        assert order.low < 5 / 6 * NDCG_OF_3 < order.high


def test_the_interval_takes_a_household_as_one_observation(tmp_path: Path) -> None:
    model = save_ranker(tmp_path / "model", by="last")
    half = [["x"], ["a"]]
    names = [f"u{n:02}" for n in range(20) for _ in range(4)]
    asked = pl.DataFrame(
        {"user": names, "item": "x", "history": [half[n // 4 % 2] for n in range(80)]}
    )
    one = by_part(measure_importance(model, asked, k=10, seed=1))["last event"]
    # Ten households of four fall by 0.5, ten by 0: each household's sum is ±4 · 0.25 = ±1 from
    # the mean 0.25, so the error is sqrt(20 / 19 · 20 · 1²) / 80 = 0.05735.
    error = math.sqrt(20 / 19 * 20) / 80
    assert one.drop == pytest.approx(0.25)
    np.testing.assert_allclose([one.low, one.high], [0.25 - 1.96 * error, 0.25 + 1.96 * error])


def test_of_many_examples_whole_households_are_drawn(tmp_path: Path) -> None:
    model = save_ranker(tmp_path / "model", by="user")
    found = measure_importance(model, examples(["a"], users=600), k=10, seed=1)
    assert {one.examples for one in found} == {1000}


def test_one_household_has_no_interval_and_an_empty_history_is_no_part(tmp_path: Path) -> None:
    model = save_ranker(tmp_path / "model", by="user")
    found = by_part(measure_importance(model, examples([""], users=1), k=10, seed=1))
    assert found["user"].drop == NDCG_OF_3 and math.isnan(found["user"].low)
    assert found["whole history"].drop == 0
