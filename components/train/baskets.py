"""Training on baskets: what was taken at one moment, out of what came strictly before."""

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from components.train.hyperparameters import Hyperparameters, below
from components.train.interactions import (
    DAY_US,
    Baskets,
    Int32,
    Interactions,
    cut_baskets,
    histories,
    labels,
    select,
)
from components.train.items import ItemTable
from components.train.retrieval import Stepped
from components.train.sampled_softmax import InBatchSoftmax
from components.train.shares import WHOLE, Share

_VECTOR, _MATRIX = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.int32)
_SCALAR, _SEED = tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int32)


class BasketBatch(NamedTuple):
    """Queries of one device, and the labels of all.

    Attributes:
        user: `user_id`, [B].
        history: Item rows, [B, L], most recent last, −1 is padding.
        query: Row of the query of each of these queries' labels, [own].
        label: Item row of each label of the whole batch, [labels].
        first: Place of these queries' labels in `label`, a scalar: they are `own` in a row.
        seed: Seed of the step, [2].
    """

    user: Int32
    history: Int32
    query: Int32
    label: Int32
    first: Int32
    seed: Int32

    @property
    def labels(self) -> int:
        """Labels of the whole batch."""
        return len(self.label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BasketHyperparameters(Hyperparameters):
    """Settings of training on baskets.

    Attributes:
        batch_baskets: Queries in one step; all their items are labels and each other's negatives.
        gap_days: Days before a basket in which its history may end, drawn evenly from 0 to this.
    """

    batch_baskets: int = 512
    gap_days: float = below(36_525.0, default=14.0)


class BasketModel(Stepped):
    """A model that learns the items of a basket from a query (user, history).

    Loss: in-batch sampled softmax with logQ correction over all items of the batch's baskets
    (`components/train/sampled_softmax.py`).
    """

    settings: BasketHyperparameters
    signature = BasketBatch(_VECTOR, _MATRIX, _VECTOR, _VECTOR, _SCALAR, _SEED)

    def __init__(self, items: ItemTable, settings: BasketHyperparameters) -> None:
        """Keep the settings, and the items' shares for the loss."""
        super().__init__(items)
        self.settings = settings
        self.softmax = InBatchSoftmax(items.counts)

    @abc.abstractmethod
    def batch_scores(
        self, user: tf.Tensor, history: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Score the batch's different label items for each of its queries.

        Args:
            user: `user_id`, int32 [B].
            history: Item rows, int32 [B, L], most recent last, −1 is padding.
            labels: Item rows of the batch's labels, int32 [labels].
            seed: Seed of this step's random choices, int32 [2].

        Returns:
            Scores, float32 [B, C]; item row of each column, int32 [C]; column of each label,
            int32 [labels].
        """

    def batch_loss(self, batch: BasketBatch) -> tf.Tensor:
        """See `Stepped.batch_loss`."""
        scores, rows, column = self.batch_scores(batch.user, batch.history, batch.label, batch.seed)
        own = column[batch.first : batch.first + tf.shape(batch.query)[0]]
        total = tf.shape(batch.label)[0]
        return self.softmax(scores, rows, query=batch.query, column=own, labels=total)

    def epoch_batches(
        self, events: Interactions, *, seed: int, epoch: int, shares: Sequence[Share] = WHOLE
    ) -> Iterator[tuple[BasketBatch, ...]]:
        """See `Stepped.epoch_batches`."""
        for chosen, step in shuffled_baskets(events, self.settings, seed=seed, epoch=epoch):
            yield tuple(self._part(events, chosen, share, step) for share in shares)

    def _part(
        self, events: Interactions, baskets: Baskets, share: Share, seed: Int32
    ) -> BasketBatch:
        rows = share.of(len(baskets))
        own = select(baskets, rows)
        first = (baskets.end - baskets.start)[: rows.start].sum()
        return BasketBatch(
            user=own.user,
            history=histories(events, own, length=max(self.history_length, 1)),
            query=labels(events, own)[0],
            label=labels(events, baskets)[1],
            first=np.array(first, np.int32),
            seed=seed,
        )


def shuffled_baskets(
    events: Interactions, settings: BasketHyperparameters, *, seed: int, epoch: int
) -> Iterator[tuple[Baskets, Int32]]:
    """Yield an epoch's baskets in random order, some at a time, with the seed of each step, [2]."""
    random = events.random(seed=seed, epoch=epoch)
    gap_us = random.integers(0, int(settings.gap_days * DAY_US) + 1, len(events))
    baskets = cut_baskets(events, gap_us=gap_us)
    order = random.permutation(len(baskets))
    for start in range(0, len(order), settings.batch_baskets):
        chosen = select(baskets, order[start : start + settings.batch_baskets])
        yield chosen, events.step_seed(start, seed=seed, epoch=epoch)
