import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.evaluate.baselines import Baselines, fit_baselines, ranks_in_row
from components.ranking import rank_of

ITEMS = ["a", "b", "c", "d", "e"]
# events by item: a 3 (u1 twice, u2), b 2 (u1, u3), c 2 (u2, u3), d 1 (u3), e 0
PURCHASES = pl.DataFrame(
    [("u1", "a"), ("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "c"), ("u3", "b"), ("u3", "c"),
     ("u3", "d")],
    schema=["user", "item"], orient="row",
)  # fmt: skip


@pytest.fixture
def baselines() -> Baselines:
    return Baselines(PURCHASES, pl.Series(ITEMS))


def ranks(baselines: Baselines, user: str, items: list[str]) -> dict[str, list[float]]:
    frame = pl.DataFrame({"user": [user] * len(items), "item": items})
    return baselines.ranks(frame).to_dict(as_series=False)


def test_popularity_ranks_by_events_with_half_ties(baselines):
    # 3, 2, 2, 1, 0: b and c share places 2 and 3.
    assert ranks(baselines, "u2", ITEMS)["popularity"] == [1.0, 2.5, 2.5, 4.0, 5.0]


def test_household_frequency_puts_own_items_first_and_breaks_ties_by_popularity(baselines):
    # u3 had b, c and d once each. Popularity orders b = c (2) > d (1); then a (3), then e (0).
    assert ranks(baselines, "u3", ITEMS)["household_frequency"] == [4.0, 1.5, 1.5, 3.0, 5.0]
    # u1 had a twice, b once; of the others c (2) > d (1) > e (0).
    assert ranks(baselines, "u1", ITEMS)["household_frequency"] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_cooccurrence_is_the_sum_of_cosines_without_the_item_itself(baselines):
    # Buyers: a {u1,u2}, b {u1,u3}, c {u2,u3}, d {u3}. Each pair of a, b, c shares one buyer:
    # sim = 1/√(2·2) = 1/2. sim(b,d) = sim(c,d) = 1/√(2·1) = 1/√2. sim(a,d) = 0.
    # u1 had a and b: a: sim(a,b) = 1/2; b: 1/2; c: 1/2 + 1/2 = 1; d: 0 + 1/√2; e: 0.
    scores = baselines.scores(pl.Series(["u1"]))["item_cooccurrence"][0]
    np.testing.assert_allclose(scores, [0.5, 0.5, 1.0, 1 / math.sqrt(2), 0.0], atol=1e-6)
    assert ranks(baselines, "u1", ["c", "d", "e"])["item_cooccurrence"] == [1.0, 2.0, 5.0]


def test_a_user_nobody_knows_gets_popularity_and_no_cooccurrence(baselines):
    found = ranks(baselines, "nobody", ["a", "e"])
    assert found["popularity"] == found["household_frequency"] == [1.0, 5.0]
    assert found["item_cooccurrence"] == [3.0, 3.0]  # all tied: (1 + 5) / 2


def test_an_item_outside_the_catalogue_ranks_behind_all_others(baselines):
    assert ranks(baselines, "u1", ["z"]) == {
        "popularity": [6.0],
        "household_frequency": [6.0],
        "item_cooccurrence": [6.0],
    }


def test_ranks_follow_the_examples_over_many_users(baselines):
    users = [f"v{n:04}" for n in range(200)]
    frame = pl.DataFrame({"user": ["u1", *users], "item": ["b", *["a"] * 200]}).sort("user")
    got = baselines.ranks(frame)["household_frequency"].to_list()
    assert got == [2.0, *[1.0] * 200]


def test_the_rank_is_the_one_the_models_use():
    generator = np.random.default_rng(3)
    scores = generator.integers(0, 5, 40).astype(np.float32)  # many ties
    columns = np.array([*range(40), -1, 40])
    theirs = rank_of(tf.tile(scores[np.newaxis], [42, 1]), columns).numpy()
    np.testing.assert_array_equal(ranks_in_row(scores, columns), theirs)


def test_fits_on_train_and_eval_and_never_on_test(shop: dict[str, Path]):
    found = fit_baselines(shop["events"], shop["catalogue"])
    scores = found.scores(pl.Series(["h00"]))["popularity"][0]
    # n15: 20 · 2, n16: 20 + 1 in eval, n17: 1; n00, bought in test only: 0.
    assert scores[[15, 16, 17, 0]].tolist() == [40.0, 21.0, 1.0, 0.0]
