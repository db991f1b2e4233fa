"""A history as (item, how long ago, how often since): what the models read from it.

The same function serves training and the exported signatures, so they cannot differ.
"""

import numpy as np
import tensorflow as tf


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
