"""The steps of training: batches of baskets with their histories, and the update for each."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from components.train.checkpoint import Arrays
from components.train.hyperparameters import Hyperparameters
from components.train.interactions import (
    DAY_US,
    Int32,
    Interactions,
    cut_baskets,
    histories,
    labels,
    select,
)
from components.train.retrieval import Stepped
from components.train.sampled_softmax import log_inclusion, sampled_softmax


@dataclasses.dataclass(frozen=True)
class Batch:
    """Queries and their labels, as the model takes them.

    Attributes:
        user: `user_id`, [B].
        history: Item rows, [B, L].
        query: Row of each label's query, [labels].
        label: Item row of each label, [labels].
        seed: Seed of the step, [2].
    """

    user: Int32
    history: Int32
    query: Int32
    label: Int32
    seed: Int32


def epoch_batches(
    events: Interactions, settings: Hyperparameters, *, history_length: int, seed: int, epoch: int
) -> Iterator[Batch]:
    """Yield an epoch's batches; the same seed and epoch give the same batches.

    An epoch depends on nothing before it, so a run that is resumed sees what it would have seen.
    """
    random = np.random.default_rng([seed, epoch])
    gap_us = random.integers(0, int(settings.gap_days * DAY_US) + 1, len(events))
    baskets = cut_baskets(events, gap_us=gap_us)
    order = random.permutation(len(baskets))
    for start in range(0, len(order), settings.batch_baskets):
        chosen = select(baskets, order[start : start + settings.batch_baskets])
        query, label = labels(events, chosen)
        history = histories(events, chosen, length=max(history_length, 1))
        yield Batch(chosen.user, history, query, label, np.array([seed + epoch, start], np.int32))


class Trainer:
    """A model with its optimizer: one step at a time."""

    def __init__(self, model: Stepped, settings: Hyperparameters) -> None:
        """Make the optimizer and its slots."""
        self.model = model
        self.optimizer = keras.optimizers.Adam(settings.learning_rate)
        self.optimizer.build(model.trainable_variables)
        share = model.items.counts / max(model.items.counts.sum(), 1)
        self._share = tf.constant(np.clip(share, 1e-9, 1 - 1e-6), tf.float32)
        vector = tf.TensorSpec([None], tf.int32)
        matrix, pair = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)
        self._step = tf.function(
            self._update, input_signature=[vector, matrix, vector, vector, pair]
        )

    def _update(
        self,
        user: tf.Tensor,
        history: tf.Tensor,
        query: tf.Tensor,
        label: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores, rows, column = self.model.batch_scores(user, history, label, seed)
            log_q = log_inclusion(tf.gather(self._share, rows), tf.shape(label)[0])
            loss = sampled_softmax(scores, log_q, query=query, column=column)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def step(self, batch: Batch) -> tf.Tensor:
        """Take one step; return the batch's loss, a scalar."""
        return self._step(batch.user, batch.history, batch.query, batch.label, batch.seed)

    def state(self) -> Arrays:
        """Return every number that training changes: weights, then the optimizer's."""
        return [np.asarray(v) for v in self._variables()]

    def restore(self, state: Arrays) -> None:
        """Put back what `state` returned."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.trainable_variables, *self.optimizer.variables]
