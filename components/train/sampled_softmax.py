"""In-batch sampled softmax with the logQ correction."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class InBatchSoftmax:
    """The loss over a batch's different items, for a data set whose items' shares are known."""

    def __init__(self, counts: npt.NDArray[np.int64]) -> None:
        """Keep each item's share of the events; `counts` are events by item row, [n]."""
        share = counts / max(counts.sum(), 1)
        self._share = tf.constant(np.clip(share, 1e-9, 1 - 1e-6), tf.float32)

    def __call__(
        self,
        scores: tf.Tensor,
        rows: tf.Tensor,
        *,
        query: tf.Tensor,
        column: tf.Tensor,
        labels: tf.Tensor,
    ) -> tf.Tensor:
        """Return the labels' part of the batch's mean loss, a scalar.

        Args:
            scores: Scores of the batch's different items, float32 [B, C].
            rows: Item row of each column, int32 [C].
            query: Row of each label, int32 [labels].
            column: Column of each label, int32 [labels].
            labels: Labels of the whole batch, on all devices, int32 scalar.
        """
        log_q = log_inclusion(tf.gather(self._share, rows), labels)
        return sampled_softmax(scores, log_q, query=query, column=column, labels=labels)


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
    scores: tf.Tensor,
    log_q: tf.Tensor,
    *,
    query: tf.Tensor,
    column: tf.Tensor,
    labels: tf.Tensor,
) -> tf.Tensor:
    """Return the labels' part of the mean cross-entropy against all of the batch's items.

    loss = mean over labels (b, i) of  log Σ_j exp(s_bj − log Q_j) − (s_bi − log Q_i)

    Popular items are in more batches than rare ones; without −log Q they would be pushed down for
    it (Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
    Recommendations", RecSys 2019, eq. 3–5).

    Args:
        scores: Scores of the batch's different items, float32 [B, C].
        log_q: Log probability that the item is among them, float32 [C].
        query: Row of each label, int32 [labels].
        column: Column of each label, int32 [labels].
        labels: Labels of the whole batch, int32 scalar: of these and of the other devices'.
    """
    corrected = scores - log_q[tf.newaxis]
    normaliser = tf.reduce_logsumexp(corrected, axis=1)
    own = tf.gather_nd(corrected, tf.stack([query, column], axis=1))
    return tf.reduce_sum(tf.gather(normaliser, query) - own) / tf.cast(labels, tf.float32)
