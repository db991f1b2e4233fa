"""A history as (item, how long ago, how often since): what the models read from it.

The same function serves training and the exported signatures, so they cannot differ.
"""

import numpy as np
import tensorflow as tf

# Adam moves every variable by about its step size; the few numbers of what is repeated have further
# to go than the embeddings, and are long done being learned when those begin to overfit.
REPEAT_SCALE = 10.0


def read_history(history: tf.Tensor, *, length: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Describe the events of each history, in any order, padding left out.

    Args:
        history: Item rows, int32 [B, L], most recent last, −1 is padding, anywhere.
        length: Only so many most recent events of each row are read.

    Returns:
        For each event read: its place (query, item row), int32 [events, 2]; its age, int32
        [events]: 0 for the most recent event of its query; its occurrence, int32 [events]: 0 for
        the most recent purchase of that item in that history, 1 for the one before.
    """
    real = tf.cast(history >= 0, tf.int32)
    age = tf.cumsum(real, axis=1, exclusive=True, reverse=True)
    read = (history >= 0) & (age < length)
    # One sort by (item, age) brings an item's purchases together, the most recent first.
    limit = tf.constant(2**62, tf.int64)
    key = tf.cast(history, tf.int64) * length + tf.cast(age, tf.int64)
    key = tf.sort(tf.where(read, key, limit), axis=1)
    item = tf.where(key < limit, key // length, limit)
    first = tf.searchsorted(item, item, side="left")
    occurrence = tf.range(tf.shape(key)[1])[tf.newaxis] - first
    place = tf.where(key < limit)
    events = tf.gather_nd(key, place)
    rows = tf.cast(events // length, tf.int32)
    ages = tf.cast(events % length, tf.int32)
    query = tf.cast(place[:, 0], tf.int32)
    return tf.stack([query, rows], axis=1), ages, tf.gather_nd(occurrence, place)


def band(values: tf.Tensor, *, bands: int) -> tf.Tensor:
    """Return the logarithmic band of a count: 0 → 0, 1 → 1, 2–3 → 2, 4–7 → 3, …, clipped."""
    edges = tf.constant(2 ** np.arange(bands - 1), tf.int32)
    return tf.searchsorted(edges, values, side="right")


def mean_by_age(
    table: tf.Tensor, place: tf.Tensor, age: tf.Tensor, *, bands: int, queries: tf.Tensor
) -> tf.Tensor:
    """Return the mean vector of each history's events by band of age, float32 [B, bands · d].

    Args:
        table: A vector for each id, float32 [ids, d].
        place: Query and id of each event, int32 [events, 2].
        age: Its age, int32 [events].
        bands: Bands of age; a band without events is zero.
        queries: B.
    """
    group = place[:, 0] * bands + band(age, bands=bands)
    total = tf.math.bincount(group, minlength=queries * bands, maxlength=queries * bands)
    # A sparse matrix sums without a copy of every event's vector, [events, d].
    pooling = tf.SparseTensor(
        tf.cast(tf.stack([group, place[:, 1]], axis=1), tf.int64),
        1.0 / tf.gather(tf.cast(total, tf.float32), group),
        tf.cast(tf.stack([queries * bands, tf.shape(table)[0]]), tf.int64),
    )
    pooled = tf.sparse.sparse_dense_matmul(pooling, table)
    return tf.reshape(pooled, [queries, bands * table.shape[1]])


def sums_of_pairs(weight: tf.Tensor, place: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
    """Return for each pair the sum of the weights at its place, float32 [pairs]; 0 without any.

    Args:
        weight: Weights, float32 [weights].
        place: Query and item row of each weight, int32 [weights, 2].
        pairs: Query and item row of each pair, int32 [pairs, 2].
    """
    # Two int32 make one int64, which tf.unique can compare.
    cell = tf.bitcast(tf.concat([pairs, place], axis=0), tf.int64)
    different, column = tf.unique(cell)
    count = tf.shape(pairs)[0]
    total = tf.math.unsorted_segment_sum(weight, column[count:], tf.shape(different)[0])
    return tf.gather(total, column[:count])
