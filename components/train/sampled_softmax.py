"""In-batch sampled softmax with the logQ correction."""

import tensorflow as tf


def log_inclusion(probability: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Return the log of the probability that an item is among a batch's different items.

    Q = 1 − (1 − p)^draws, as in TensorFlow's candidate samplers when candidates are unique
    (`tf.nn.sampled_softmax_loss`).

    Args:
        probability: Share of the item among all labels, float32 [C], in (0, 1).
        draws: Labels in the batch, scalar.
    """
    draws = tf.cast(draws, tf.float32)
    return tf.math.log(-tf.math.expm1(draws * tf.math.log1p(-probability)))


def sampled_softmax(
    scores: tf.Tensor, log_q: tf.Tensor, *, query: tf.Tensor, column: tf.Tensor
) -> tf.Tensor:
    """Return the mean cross-entropy of the labels against all of the batch's items.

    loss = mean over labels (b, i) of  log Σ_j exp(s_bj − log Q_j) − (s_bi − log Q_i)

    Popular items are in more batches than rare ones; without −log Q they would be pushed down for
    it (Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
    Recommendations", RecSys 2019, eq. 3–5).

    Args:
        scores: Scores of the batch's different items, float32 [B, C].
        log_q: Log probability that the item is among them, float32 [C].
        query: Row of each label, int32 [labels].
        column: Column of each label, int32 [labels].
    """
    corrected = scores - log_q[tf.newaxis]
    normaliser = tf.reduce_logsumexp(corrected, axis=1)
    own = tf.gather_nd(corrected, tf.stack([query, column], axis=1))
    return tf.reduce_mean(tf.gather(normaliser, query) - own)
