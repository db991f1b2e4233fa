"""One step of training after another: the update that every model's loss goes through."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from components.train.checkpoint import Arrays
from components.train.devices import Devices
from components.train.feed import epoch_batches, prefetch
from components.train.hyperparameters import Hyperparameters
from components.train.interactions import Interactions
from components.train.retrieval import Batch, Stepped
from components.train.settings import DeviceSettings


class Trainer:
    """A model with its optimizer: one step at a time, on all devices."""

    def __init__(
        self, model: Stepped, settings: Hyperparameters, *, devices: Devices | None = None
    ) -> None:
        """Make the optimizer and its slots.

        Args:
            model: The model, built in the devices' scope.
            settings: Its hyper-parameters.
            devices: What it trains on; None is one device.
        """
        self.model = model
        self.devices = devices or Devices(DeviceSettings(strategy="one"), environment={})
        with self.devices.strategy.scope():
            self.optimizer = keras.optimizers.Adam(settings.learning_rate)
            if self.devices.settings.precision == "mixed_float16":
                # Small gradients would be zero in float16.
                self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
            self.optimizer.build(model.trainable_variables)
        signature = [(model.signature,) * len(self.devices.shares)]
        self._step = tf.function(self._run, input_signature=signature)

    def _learn(self, batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = self.model.batch_loss(batch)
            scaled = self.optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, self.model.trainable_variables)

    def _update(self, batch: Batch) -> tf.Tensor:
        loss, gradients = self._learn(batch)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _spoiled_together(gradients)
        # Adds up the devices' gradients, as their losses are parts of one.
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _run(self, parts: tuple[Batch, ...]) -> tf.Tensor:
        strategy = self.devices.strategy
        losses = strategy.run(lambda: self._update(self.devices.own_part(parts)))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def batches(
        self, shards: Sequence[Interactions], *, seed: int, epoch: int
    ) -> Iterator[tuple[Batch, ...]]:
        """Yield an epoch's batches, as the parts of this process's devices."""
        shares = self.devices.shares
        return prefetch(epoch_batches(self.model, shards, seed=seed, epoch=epoch, shares=shares))

    def step(self, parts: tuple[Batch, ...]) -> tf.Tensor:
        """Take one step; return the whole batch's loss, a scalar."""
        return self._step(parts)

    def state(self) -> Arrays:
        """Return every number that training changes: weights, then the optimizer's."""
        return [np.asarray(v) for v in self._variables()]

    def restore(self, state: Arrays) -> None:
        """Put back what `state` returned."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.trainable_variables, *self.optimizer.variables]


def _spoiled_together(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Return gradients that are NaN on every device when they overflow on one.

    Keras' LossScaleOptimizer leaves out a step whose gradients are not finite, and looks at one
    device's own gradients to tell.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return gradients
    flat = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    # 0 · x is 0 for what is finite, and NaN else.
    zero = tf.add_n([tf.reduce_sum(0.0 * values) for values in flat])
    zero = context.all_reduce(tf.distribute.ReduceOp.SUM, zero)
    return [
        tf.IndexedSlices(g.values + zero, g.indices, g.dense_shape)
        if isinstance(g, tf.IndexedSlices)
        else g + zero
        for g in gradients
    ]
