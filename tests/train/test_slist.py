import numpy as np
import pytest
import tensorflow as tf

from components.train.models.slist import Slist, SlistHyperparameters
from tests.train.test_sequences import ITEMS, cycles, log_of, table


def test_the_weights_are_those_that_say_best_what_goes_together_and_what_comes_next() -> None:
    random = np.random.default_rng(0)
    sequences = [random.integers(0, ITEMS, random.integers(1, 9)) for _ in range(40)]
    settings = SlistHyperparameters(l2=2.0, together=0.7, recency=0.5, history_length=3)
    events = log_of(sequences)
    model = Slist(table(events), settings, seed=1)
    loss = model.fit_events(events)
    eye = np.eye(ITEMS)
    x = np.stack([eye[sequence].max(axis=0) for sequence in sequences])
    steps = [(s[max(0, t - 3) : t][::-1], s[t]) for s in sequences for t in range(1, len(s))]
    before = np.stack([sum(eye[i] * (1 + a) ** -0.5 for a, i in enumerate(p)) for p, _ in steps])
    following = np.stack([eye[item] for _, item in steps])
    gram = 0.7 * x.T @ x + before.T @ before
    right = 0.7 * x.T @ x + before.T @ following
    for item in range(ITEMS):
        # Column j is the ridge regression on the other items alone.
        others = np.delete(np.arange(ITEMS), item)
        ridge = gram[np.ix_(others, others)] + 2.0 * np.eye(ITEMS - 1)
        expected = np.linalg.solve(ridge, right[others, item])
        np.testing.assert_allclose(model.item_weights[others, item], expected, atol=1e-4)
        assert model.item_weights[item, item] == 0
    rest = following - before @ model.item_weights
    assert loss == pytest.approx((rest**2).sum() / len(steps), rel=1e-4)


def test_the_order_of_events_is_learned_in_closed_form() -> None:
    events = cycles(users=100, events=8)
    model = Slist(table(events), SlistHyperparameters(l2=1.0), seed=1)
    model.fit_events(events)
    history = (np.arange(ITEMS)[:, None] + np.arange(3)) % ITEMS
    scores = model.score_all(
        tf.zeros([ITEMS], tf.int32), tf.constant(history, tf.int32), *model.index()
    )
    # Without the order, the item after the history is as near to it as the one before.
    assert (np.argmax(scores, axis=1) == (np.arange(ITEMS) + 3) % ITEMS).all()
