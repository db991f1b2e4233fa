import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import tensorflow as tf

from components.errors import InputError
from components.train.deep_cross import DeepCross
from components.train.fit import TrainSummary, train
from components.train.negatives import draw_negatives
from components.train.repeats import sums_of_pairs
from components.train.settings import TrainSettings
from tests.train.conftest import SCHEMA, Prepared, write_artifacts

TASTES, PER_TASTE = 4, 10


def run(prepared: Prepared, folder: Path, *, eval_users: int = 50, **settings: Any) -> TrainSummary:
    chosen = TrainSettings(
        model="ranker", hyperparameters=json.dumps(settings), eval_users=eval_users
    )
    return train(**prepared.inputs, **prepared.outputs(folder), checkpoint_root="", settings=chosen)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A log in which everybody takes items of the colour of their own taste, and nothing else does.

    All users take equally much and all items are taken equally often, so that neither a user nor an
    item says anything alone. One item of each colour is in the catalogue only.
    """
    random = np.random.default_rng(0)
    user = np.repeat(np.arange(100), 30)
    item = TASTES * random.integers(0, PER_TASTE - 1, len(user)) + user % TASTES
    order = random.permutation(len(user))
    log = pl.DataFrame(
        {
            "user": [f"u{n}" for n in user[order]],
            "item": [f"i{n}" for n in item[order]],
            "time": pl.Series(np.arange(len(user)) * 60_000_000).cast(pl.Datetime("us")),
        }
    )
    names = [f"i{n}" for n in range(TASTES * PER_TASTE)]
    colours = [f"colour {n % TASTES}" for n in range(TASTES * PER_TASTE)]
    catalogue = pl.DataFrame({"item": names, "category": colours})
    log = log.join(catalogue, on="item")
    splits = {"train": log[:2400], "eval": log[2400:2700], "test": log[2700:]}
    kept = [line for line in SCHEMA.splitlines() if not any(n in line for n in ("title", "price"))]
    schema = "\n".join(line for line in kept if "brand" not in line)
    return write_artifacts(tmp_path_factory.mktemp("crossed"), splits, catalogue, schema=schema)


@pytest.fixture(scope="module")
def clicks(crossed: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clicks")
    settings = {"epochs": 8, "patience": 8, "batch_baskets": 128, "gap_days": 0}
    run(crossed, folder, learning_rate=0.01, dimension=8, id_dropout=0.3, **settings)
    return folder / "model"


def ask(
    model_dir: Path,
    signature: str,
    users: list[str],
    items: list[str],
    *,
    history: list[list[str]] | None = None,
) -> npt.NDArray[Any]:
    """Ask for each of some pairs."""
    answer = tf.saved_model.load(str(model_dir)).signatures[signature](
        user=tf.constant(users),
        history=tf.constant(history or [[""]] * len(users)),
        item=tf.constant(items),
    )
    (only,) = answer.values()
    found: npt.NDArray[Any] = only.numpy()
    return found


def click_odds(crossed: Prepared, model_dir: Path, items: range) -> npt.NDArray[Any]:
    """Return every user's log-odds for some items, [100, items], from what they took before."""
    log = pl.read_parquet(crossed.folder / "events" / "train").group_by("user")
    taken = dict(log.agg(pl.col("item").tail(8)).iter_rows())
    users = [f"u{user}" for user in range(100) for _ in items]
    odds = ask(
        model_dir, "click", users, [f"i{item}" for item in items] * 100,
        history=[taken[user] for user in users],
    )  # fmt: skip
    return odds.reshape(100, len(items))


def test_a_cross_of_user_and_item_is_learned_that_neither_shows_alone(
    crossed: Prepared, clicks: Path
) -> None:
    odds = click_odds(crossed, clicks, range(TASTES * (PER_TASTE - 1)))
    own = np.arange(100)[:, None] % TASTES == np.arange(odds.shape[1])[None, :] % TASTES
    # Anything without the cross has an AUC of ½: all users and all items are alike.
    assert np.mean(odds[own][:, None] > odds[~own][None, :]) > 0.95
    # P(i | u) is 1/9 for the 9 items of one's colour: log(1/9 · 40 items) = 1.49 against one drawn.
    assert np.median(odds[own]) == pytest.approx(math.log(40 / 9), abs=0.4)


def test_an_item_never_taken_is_known_by_its_content(crossed: Prepared, clicks: Path) -> None:
    # The last item of each colour has no event: its category alone says who takes it.
    new = TASTES * (PER_TASTE - 1)
    odds = click_odds(crossed, clicks, range(new, new + TASTES))
    assert np.mean(odds.argmax(axis=1) == np.arange(100) % TASTES) > 0.9


def test_the_signatures_agree_and_a_batch_does_not_change_an_answer(clicks: Path) -> None:
    signatures = tf.saved_model.load(str(clicks)).signatures
    # 600 queries × 40 items are scored in blocks, and these are cut out of several of them.
    users = [f"u{n % 120}" for n in range(600)]
    history = [["", f"i{n % 36}", f"i{n % 7}"] for n in range(600)]
    whole = signatures["recommend"](
        user=tf.constant(users), history=tf.constant(history), k=tf.fill([600], np.int64(40))
    )
    for row in (0, 409, 599):
        asked = {
            "user": tf.constant([users[row]] * 40),
            "history": tf.constant([history[row]] * 40),
            "item": whole["items"][row],
        }
        scores = signatures["serving_default"](**asked)["scores"]
        np.testing.assert_allclose(scores, whole["scores"][row], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(scores, signatures["click"](**asked)["click"])
        ranks = signatures["evaluate"](**asked)["rank"]
        np.testing.assert_allclose(ranks, np.arange(1, 41), atol=1)  # rounding may swap near-ties


def test_strangers_are_answered(clicks: Path) -> None:
    odds = ask(clicks, "click", ["nobody", "nobody"], ["ghost", "i3"])
    assert np.isfinite(odds).all() and odds[0] <= odds[1]


def test_the_planted_ratings_are_predicted_and_a_saved_model_answers_as_it_did(
    rated: Prepared, tmp_path: Path
) -> None:
    settings = {"task": "rating", "epochs": 12, "patience": 12, "learning_rate": 0.01}
    small = {"batch_baskets": 128, "gap_days": 0, "dimension": 8, "l2": 0.01}
    first = run(rated, tmp_path / "first", **settings, **small)
    test = pl.read_parquet(rated.folder / "events" / "test")
    users, items = test["user"].to_list(), test["item"].to_list()
    found = ask(tmp_path / "first" / "model", "rating", users, items)
    error = found - test["rating"].to_numpy()
    # The best that biases alone can do leaves the taste: an error of ½.
    assert np.sqrt(np.mean(error**2)) < 0.4
    again = run(rated, tmp_path / "again", **settings, **small)
    assert [epoch.rmse for epoch in again.curve] == [epoch.rmse for epoch in first.curve]
    answer = ask(tmp_path / "again" / "model", "rating", users, items)
    np.testing.assert_allclose(answer, found, rtol=1e-5)


def test_a_task_that_is_not_there_and_ratings_that_are_not_are_refused(
    crossed: Prepared, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="task: found 'likes', expected one of click, rating"):
        run(crossed, tmp_path, task="likes")
    with pytest.raises(InputError, match="task: found 1, expected one of click, rating"):
        run(crossed, tmp_path, task=1)
    with pytest.raises(InputError, match="cross_layers: found 0, expected .* at least 1"):
        run(crossed, tmp_path, cross_layers=0)
    with pytest.raises(InputError, match="no rating, expected a column rating with some"):
        run(crossed, tmp_path, task="rating")


def test_the_network_in_two_parts_is_its_formula() -> None:
    network = DeepCross(3, 2, layers=2, rank=2, hidden=(4, 3), seed=1)
    for variable in network.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, [1, len(variable.shape)]))
    random = np.random.default_rng(0)
    x_u, x_i = random.normal(size=(6, 3)), random.normal(size=(6, 2))
    query = network.parts(tf.constant(x_u, tf.float32), network.first_query)
    item = network.parts(tf.constant(x_i, tf.float32), network.first_item)

    w = {v.name: np.asarray(v, np.float64) for v in network.trainable_variables}
    first = np.concatenate([w["first_query"], w["first_item"]])
    x0 = np.concatenate([x_u, x_i], axis=1)
    x1 = x0 * (x0 @ first[:, 4:] @ w["cross_u0"] + w["cross_b0"]) + x0
    x2 = x0 * (x1 @ w["cross_v1"] @ w["cross_u1"] + w["cross_b1"]) + x1
    hidden = np.maximum(x0 @ first[:, :4] + w["hidden_b0"], 0)
    hidden = np.maximum(hidden @ w["second"] + w["hidden_b1"], 0)
    expected = (x2 @ w["out_cross"] + hidden @ w["out_deep"])[:, 0]
    np.testing.assert_allclose(network(query, item), expected, rtol=1e-4)
    everything = network.score_all(query[:2], item)
    np.testing.assert_allclose(np.diag(everything), expected[:2], rtol=1e-4)


def test_drawn_items_of_the_own_basket_are_no_negatives() -> None:
    query, label = tf.constant([0, 0, 1]), tf.constant([2, 0, 1])
    drawn, queries, allowed = draw_negatives(
        query, label, each=50, items=3, seed=tf.constant([1, 2])
    )
    own = {0: {0, 2}, 1: {1}}
    expected = [item not in own[q] for q, item in zip(queries.numpy(), drawn.numpy(), strict=True)]
    assert allowed.numpy().astype(bool).tolist() == expected
    # Evenly from three items: 150 draws, a third of them each (standard deviation 6).
    assert np.bincount(drawn).min() > 30


def test_weights_are_added_up_by_pair() -> None:
    place = tf.constant([[0, 5], [1, 5], [0, 5], [0, 4]])
    pairs = tf.constant([[0, 5], [0, 3], [1, 5], [0, 5], [5, 0]])
    found = sums_of_pairs(tf.constant([1.0, 2.0, 4.0, 8.0]), place, pairs)
    assert found.numpy().tolist() == [5.0, 0.0, 2.0, 5.0, 0.0]
