"""Where the true item stands among all items, and the best k: what models and baselines share.

Both work on one chunk of rows, so that a caller bounds its memory by the rows it passes at once:
1,024 rows × 70,000 items of float32 are 287 MB.
"""

import tensorflow as tf


def rank_of(scores: tf.Tensor, item_index: tf.Tensor) -> tf.Tensor:
    """Return the 1-based rank of one item in each row, ties counted half.

    rank = 1 + |{j : s_j > s_item}| + ½ |{j ≠ item : s_j = s_item}|

    is the expected rank when ties are broken at random (Krichene & Rendle, "On Sampled Metrics for
    Item Recommendation", KDD 2020, §2, where ties are excluded), so that a model which gives every
    item one score ranks in the middle and not at the top. With NaN every comparison is false, which
    would be rank ½.

    Args:
        scores: Score of every item, float [B, n].
        item_index: Column of the true item, int [B]; outside [0, n) means that it is not indexed.

    Returns:
        Ranks, float32 [B]; n + 1 for an item that is not indexed, or whose score is NaN.
    """
    count = tf.shape(scores)[1]
    item_index = tf.cast(item_index, tf.int32)
    known = (item_index >= 0) & (item_index < count)
    column = tf.clip_by_value(item_index, 0, count - 1)
    own = tf.gather(scores, column, axis=1, batch_dims=1)[:, tf.newaxis]
    known &= ~tf.math.is_nan(own[:, 0])
    # Sums of ones in float32 are exact below 2²⁴ items, and half as large as count_nonzero's int64.
    better = tf.reduce_sum(tf.cast(scores > own, tf.float32), axis=1)
    not_worse = tf.reduce_sum(tf.cast(scores >= own, tf.float32), axis=1)
    rank = 0.5 + 0.5 * (better + not_worse)
    return tf.where(known, rank, tf.cast(count + 1, tf.float32))


def top_k(scores: tf.Tensor, k: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the exact k best columns of each row, best first.

    Args:
        scores: Score of every item, float [B, n].
        k: How many, scalar ≥ 0; more than n gives n.

    Returns:
        Their scores, float [B, min(k, n)], and their columns, int32 [B, min(k, n)]; among equal
        scores the lower column comes first.
    """
    best = tf.math.top_k(scores, k=tf.minimum(k, tf.shape(scores)[1]), sorted=True)
    return best.values, best.indices
