"""How a step's batch is divided over the devices that train together."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """One device's part of every batch.

    A batch is drawn as for one device; of its queries each device computes its own, against the
    items of all. So the parts of the loss add up to the loss of one device, which takes the other
    queries' items as negatives, too.

    Attributes:
        index: Number of the device, from 0.
        count: Devices that train together.
    """

    index: int = 0
    count: int = 1

    def of(self, rows: int) -> slice:
        """Return which of a batch's rows are this device's."""
        return slice(self.index * rows // self.count, (self.index + 1) * rows // self.count)


WHOLE = (Share(),)


def once(loss: tf.Tensor) -> tf.Tensor:
    """Return a device's part of a loss that every device computes as a whole: a regulariser."""
    return loss / tf.distribute.get_replica_context().num_replicas_in_sync


def shared(values: tf.Tensor) -> tf.Tensor:
    """Return values that every device computes alike and uses for its own queries.

    The gradient is added up over the devices and goes on from the first of them alone. Left to the
    optimizer, an embedding's row would get a slice of its gradient from each device, and Keras'
    Adam squares slice by slice: the step would not be that of one device.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    first = replica() == 0

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def same(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, upstream)
            return total if first else tf.zeros_like(total)

        return tf.identity(x), gradient

    return same(values)


def replica() -> int:
    """Return the number, from 0, of the device that is being traced for."""
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
