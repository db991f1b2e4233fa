import math

import numpy as np
import tensorflow as tf

from components.train.models.two_tower import mixture


def test_a_repeated_item_scores_the_log_of_the_sum_of_both_parts() -> None:
    scores = tf.constant([[math.log(0.2), math.log(0.3)]])
    # Two events of item 0 weigh 0.1 and 0.5: ln(0.2 + 0.1 + 0.5). Item 1 is not in the history.
    mixed = mixture(scores, tf.constant([[0, 0], [0, 0]]), tf.constant([0.1, 0.5]))
    np.testing.assert_allclose(mixed, [[math.log(0.8), math.log(0.3)]], rtol=1e-6)


def test_far_apart_parts_do_not_overflow() -> None:
    mixed = mixture(tf.constant([[200.0, -200.0]]), tf.constant([[0, 1]]), tf.constant([0.5]))
    # ln(e⁻²⁰⁰ + 0.5) = ln 0.5, to the precision of a float.
    np.testing.assert_allclose(mixed, [[200.0, math.log(0.5)]], rtol=1e-6)
    with tf.GradientTape() as tape:
        weight, scores = tf.constant([0.5]), tf.constant([[200.0, -200.0]])
        tape.watch(weight)
        loss = tf.reduce_sum(mixture(scores, tf.constant([[0, 1]]), weight))
    assert np.isfinite(tape.gradient(loss, weight)).all()
