"""One step of training after another: the update that every model's loss goes through."""

import keras
import numpy as np
import tensorflow as tf

from components.train.checkpoint import Arrays
from components.train.hyperparameters import Hyperparameters
from components.train.retrieval import Batch, Stepped


class Trainer:
    """A model with its optimizer: one step at a time."""

    def __init__(self, model: Stepped, settings: Hyperparameters) -> None:
        """Make the optimizer and its slots."""
        self.model = model
        self.optimizer = keras.optimizers.Adam(settings.learning_rate)
        self.optimizer.build(model.trainable_variables)
        self._step = tf.function(self._update, input_signature=[model.signature])

    def _update(self, batch: Batch) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self.model.batch_loss(batch)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def step(self, batch: Batch) -> tf.Tensor:
        """Take one step; return the batch's loss, a scalar."""
        return self._step(batch)

    def state(self) -> Arrays:
        """Return every number that training changes: weights, then the optimizer's."""
        return [np.asarray(v) for v in self._variables()]

    def restore(self, state: Arrays) -> None:
        """Put back what `state` returned."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.trainable_variables, *self.optimizer.variables]
