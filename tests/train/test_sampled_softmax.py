import math

import numpy as np
import pytest
import tensorflow as tf

from components.train.sampled_softmax import log_inclusion, sampled_softmax


def test_inclusion_is_one_minus_the_chance_to_be_missed_by_every_draw() -> None:
    # p = 0.5, two draws: 1 − 0.5² = 0.75; p = 0.1, one draw: 0.1.
    assert log_inclusion(tf.constant([0.5]), tf.constant(2)).numpy()[0] == pytest.approx(
        math.log(0.75)
    )
    assert log_inclusion(tf.constant([0.1]), tf.constant(1)).numpy()[0] == pytest.approx(
        math.log(0.1)
    )


def test_loss_is_the_cross_entropy_of_corrected_scores() -> None:
    scores, q = tf.constant([[1.0, 2.0]]), tf.constant([0.5, 0.25])
    own = tf.constant([0])
    loss = sampled_softmax(scores, tf.math.log(q), query=own, column=own, labels=1)
    # Corrected: 1 − ln 0.5 and 2 − ln 0.25, so exp: 2e and 4e². Loss = −ln(2e / (2e + 4e²))
    # = ln(1 + 2e).
    assert float(loss) == pytest.approx(math.log(1 + 2 * math.e), rel=1e-6)


def test_every_label_of_a_query_counts_once() -> None:
    scores, flat = tf.constant([[0.0, 0.0], [3.0, 0.0]]), tf.zeros([2])
    loss = sampled_softmax(
        scores, flat, query=tf.constant([0, 0, 1]), column=tf.constant([0, 1, 0]), labels=3
    )
    # Query 0: ln 2 twice; query 1: ln(1 + e⁻³).
    expected = (2 * math.log(2) + math.log(1 + math.exp(-3))) / 3
    np.testing.assert_allclose(float(loss), expected, rtol=1e-6)
