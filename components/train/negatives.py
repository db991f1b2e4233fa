"""Items that nobody took, for a loss that needs both kinds."""

import tensorflow as tf


def draw_negatives(
    query: tf.Tensor, label: tf.Tensor, *, each: int, items: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw items for each label, evenly from the catalogue.

    Args:
        query: Row of each label's query, int32 [labels].
        label: Item row of each label, int32 [labels].
        each: Items drawn for one label.
        items: Items of the catalogue.
        seed: Seed of the draw, int32 [2].

    Returns:
        Item rows and rows of their queries, int32 [labels · each]; and float32 [labels · each]: 0
        where the item is among its own query's labels and so no negative, else 1.
    """
    queries = tf.repeat(query, each)
    drawn = tf.random.stateless_uniform(tf.shape(queries), seed, maxval=items, dtype=tf.int32)
    taken = tf.sort(tf.cast(query, tf.int64) * items + tf.cast(label, tf.int64))
    cell = tf.cast(queries, tf.int64) * items + tf.cast(drawn, tf.int64)
    place = tf.minimum(tf.searchsorted(taken, cell), tf.shape(taken)[0] - 1)
    return drawn, queries, tf.cast(tf.gather(taken, place) != cell, tf.float32)
