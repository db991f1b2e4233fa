"""Dropout that does not depend on how a batch is divided over devices."""

from typing import NamedTuple

import tensorflow as tf

_PHILOX = 1
_NUMBERS_A_COUNT = 4


class Noise(NamedTuple):
    """Where a step's random numbers come from.

    Attributes:
        seed: Seed of the step, int32 [2].
        row: Row of the whole batch at which this device's rows begin, int32 scalar.
    """

    seed: tf.Tensor
    row: tf.Tensor | int = 0

    def split(self, count: int) -> "list[Noise]":
        """Return so many sources that are independent of each other."""
        return [Noise(seed, self.row) for seed in tf.unstack(tf.random.split(self.seed, count))]


def hide(values: tf.Tensor, *, rate: float, noise: Noise | None) -> tf.Tensor:
    """Return the values after dropout (Srivastava et al., JMLR 2014); without noise, unchanged.

    The numbers are those of `tf.nn.experimental.stateless_dropout` over the whole batch, of which
    only this device's are drawn: Philox counts, four numbers a count, so it can begin anywhere.

    Args:
        values: Rows of the batch, [B, …].
        rate: Share of the values that becomes 0; the others grow by 1 / (1 − rate).
        noise: Where the random numbers come from.
    """
    if noise is None:
        return values
    shape = tf.shape(values, tf.int64)
    begin = tf.cast(noise.row, tf.int64) * tf.reduce_prod(shape[1:])
    surplus = begin % _NUMBERS_A_COUNT
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=noise.seed)
    step = tf.stack([tf.cast(begin // _NUMBERS_A_COUNT, tf.uint64), tf.zeros([], tf.uint64)])
    drawn = tf.raw_ops.StatelessRandomUniformV2(
        shape=[surplus + tf.reduce_prod(shape)],
        key=key,
        counter=counter + step,
        alg=_PHILOX,
        dtype=tf.float32,
    )
    keep = tf.reshape(drawn[surplus:], shape) >= rate
    return tf.where(keep, values * (1.0 / (1.0 - rate)), tf.zeros([], values.dtype))
