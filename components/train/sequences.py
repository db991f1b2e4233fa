"""Training on whole sequences: every event is predicted from those before it.

What SASRec and GRU4Rec have in common: they differ in their encoder alone.

Shapes: B sequences, T events, n items, d = `dimension`. An encoder turns the events' embeddings
[B, T, d] into h [B, T, d]; h_t knows the events up to t alone. The score of item i after event t is

    s_t(i) = h_t · E_i + b_i,

with E [item ids, d] the same for events that are read and items that are scored. b_i starts at the
log of the item's share of the events; without a history h is zero and the popular items come first.

Loss: for each event but a sequence's first, in-batch sampled softmax with logQ correction over all
items that the batch predicts (`components/train/sampled_softmax.py`; Yi et al. 2019). An event is
predicted from the one before it, or, with `same_moment` = "basket", from the last one of an earlier
time: what is bought together says nothing of what comes next when a basket is asked for as a whole.
"""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from components.errors import InputError
from components.train.hyperparameters import Hyperparameters, below
from components.train.interactions import (
    Int32,
    Int64,
    Interactions,
    last_items,
    user_slices,
)
from components.train.items import ItemTable
from components.train.noise import Noise
from components.train.retrieval import Stepped
from components.train.sampled_softmax import InBatchSoftmax
from components.train.shares import WHOLE, Share, shared

_MATRIX, _PAIR = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)


class SequenceBatch(NamedTuple):
    """Sequences of about equal length.

    Attributes:
        item: Item rows of the whole batch, [B, T + 1], most recent last, −1 before the first.
        query: For each of the last T of them the column of the event it is predicted from, [B, T];
            −1 when it is not predicted.
        rows: First of this device's rows, and one past its last, [2].
        seed: Seed of the step, [2].
    """

    item: Int32
    query: Int32
    rows: Int32
    seed: Int32

    @property
    def labels(self) -> int:
        """Events that are predicted on all devices."""
        return int((self.query >= 0).sum())


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceHyperparameters(Hyperparameters):
    """Settings of training on sequences.

    Attributes:
        epochs: Most passes over the train split.
        patience: Epochs without a better NDCG@10 on the eval split before training stops.
        dimension: Length of the vectors, d.
        history_length: Most recent events that are read; longer sequences are cut into pieces.
        batch_events: Events predicted in one step, about.
        dropout: Share of the encoder's numbers that a training step hides.
        same_moment: What events of one time are: `ordered` as the log has them, or a `basket`, no
            part of which is seen when another is predicted. Then the first basket of a user, and
            what has no earlier basket among `history_length` events, is not predicted.
    """

    epochs: int = 40
    patience: int = 3
    dimension: int = 64
    history_length: int = 50
    batch_events: int = 2048
    dropout: float = below(1.0, default=0.3)
    same_moment: Literal["ordered", "basket"] = "ordered"

    further_attempts = ({"learning_rate": 0.001}, {"learning_rate": 0.001, "dropout": 0.5})


class SequenceModel(Stepped):
    """A model of the next item; a subclass gives the encoder."""

    settings: SequenceHyperparameters
    signature = SequenceBatch(_MATRIX, _MATRIX, _PAIR, _PAIR)

    def __init__(self, items: ItemTable, settings: SequenceHyperparameters, *, seed: int) -> None:
        """Make the item embedding and bias.

        Args:
            items: Item table.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items)
        self.settings = settings
        self.history_length = settings.history_length
        random = keras.initializers.RandomNormal(stddev=0.05, seed=seed)
        # An OOV bucket starts, and without events stays, at zero: nothing is known of the item.
        start = np.array(random((items.sizes["item"], settings.dimension)))
        start[items.vocabulary :] = 0.0
        self.item_embedding = self.add_weight(start.shape, initializer=lambda *a, **k: start)
        self.item_bias = self.prior_bias()
        self.softmax = InBatchSoftmax(items.counts)

    def tables(self) -> list[tuple[keras.Variable, str]]:
        """See `Retrieval.tables`."""
        return [(self.item_embedding, "item"), (self.item_bias, "item")]

    @abc.abstractmethod
    def encode(self, events: tf.Tensor, there: tf.Tensor, *, noise: Noise | None) -> tf.Tensor:
        """Return what is known after each event, in the model's precision, [B, T, d].

        Args:
            events: Embeddings, in the model's precision, [B, T, d].
            there: False where there is padding, all of it before the first event, bool [B, T].
            noise: Where dropout's random numbers come from; None turns dropout off.
        """

    def hidden(self, rows: tf.Tensor, *, noise: Noise | None) -> tf.Tensor:
        """Return h, float32 [B, T, d], of item rows, int32 [B, T], −1 before the first event."""
        ids = tf.gather(self.item_ids["item"], tf.maximum(rows, 0))
        events = tf.cast(tf.gather(self.item_embedding.value, ids), self.compute_dtype)
        return tf.cast(self.encode(events, rows >= 0, noise=noise), tf.float32)

    def prepare(self, shards: Iterable[Interactions]) -> None:
        """See `Stepped.prepare`; nothing is taken."""
        baskets = self.settings.same_moment == "basket"
        if not any(has_sequences(events, baskets=baskets) for events in shards):
            found = f"no user with two {'baskets' if baskets else 'events'}"
            raise InputError("train split", found, "sequences to learn from")

    def epoch_batches(
        self, events: Interactions, *, seed: int, epoch: int, shares: Sequence[Share] = WHOLE
    ) -> Iterator[tuple[SequenceBatch, ...]]:
        """See `Stepped.epoch_batches`; a batch's sequences are of like length."""
        random = events.random(seed=seed, epoch=epoch)
        start, end = cut_sequences(events, length=self.history_length)
        if not len(end):
            return
        steps = end - start - 1
        order = random.permutation(len(end))
        order = order[np.argsort(steps[order], kind="stable")]
        group = np.cumsum(steps[order]) // self.settings.batch_events
        batches = np.split(order, np.flatnonzero(np.diff(group)) + 1)
        for number in random.permutation(len(batches)):
            chosen = batches[number]
            length = int(steps[chosen].max(initial=0)) + 1
            item = last_items(events, start[chosen], end[chosen], length=length)
            baskets = self.settings.same_moment == "basket"
            query = queries(events, start[chosen], end[chosen], length=length, baskets=baskets)
            if not (query >= 0).any():  # one basket each: the mean of no losses is NaN
                continue
            step = events.step_seed(number, seed=seed, epoch=epoch)
            own = [share.of(len(item)) for share in shares]
            rows = [np.array([part.start, part.stop], np.int32) for part in own]
            yield tuple(SequenceBatch(item, query, part, step) for part in rows)

    def batch_loss(self, batch: SequenceBatch) -> tf.Tensor:
        """See `Stepped.batch_loss`."""
        seen, following = batch.item[:, :-1], batch.item[:, 1:]
        place = tf.where(batch.query >= 0)
        rows, column = tf.unique(tf.gather_nd(following, place))
        first, last = batch.rows[0], batch.rows[1]
        own = (place[:, 0] >= tf.cast(first, tf.int64)) & (place[:, 0] < tf.cast(last, tf.int64))
        hidden = self.hidden(seen[first:last], noise=Noise(batch.seed, first))
        asked = tf.cast(tf.gather_nd(batch.query, place[own]), tf.int64)
        h = tf.gather_nd(
            hidden, tf.stack([place[own][:, 0] - tf.cast(first, tf.int64), asked], axis=1)
        )
        ids = tf.gather(self.item_ids["item"], rows)
        scores = self.product(h, shared(tf.gather(self.item_embedding.value, ids)))
        scores += shared(tf.gather(self.item_bias.value, ids))
        query, total = tf.range(tf.shape(h)[0]), tf.shape(column)[0]
        return self.softmax(scores, rows, query=query, column=column[own], labels=total)

    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Retrieval.index`."""
        ids = self.item_ids["item"]
        return tf.gather(self.item_embedding.value, ids), tf.gather(self.item_bias.value, ids)

    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_all`; without a history the items' bias decides."""
        rows = compact(history, length=self.history_length)
        last = self.hidden(rows, noise=None)[:, -1] * tf.cast(rows[:, -1:] >= 0, tf.float32)
        return self.product(last, vectors) + bias


def has_sequences(events: Interactions, *, baskets: bool) -> bool:
    """Return whether an event follows another one of its user, or one of an earlier time."""
    follows = np.diff(events.owner) == 0
    return bool((follows & (np.diff(events.time_us) != 0) if baskets else follows).any())


def cut_sequences(events: Interactions, *, length: int) -> tuple[Int64, Int64]:
    """Cut each user's events into pieces in which every event but the first is predicted.

    The last piece is the most recent `length` + 1 events; the piece before it ends with the event
    it starts with, and so on, so that each event of a user but the first is predicted once.

    Returns:
        First event and one past the last event of each piece, [pieces] both.
    """
    user_start, user_end = user_slices(events)
    pieces = -(-(user_end - user_start - 1) // length)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    end = np.repeat(user_end, pieces) - number * length
    return np.maximum(end - length - 1, np.repeat(user_start, pieces)), end


def queries(events: Interactions, start: Int64, end: Int64, *, length: int, baskets: bool) -> Int32:
    """Return from which event each event of the pieces is predicted.

    Args:
        events: Ordered interactions.
        start: First event of each piece, [pieces].
        end: One past its last event, [pieces].
        length: Columns, T + 1; a piece's last event is in the last.
        baskets: Whether it is the last event of an earlier time, and not the event before.

    Returns:
        For columns 1 … T the column of that event, int32 [pieces, T]; −1 where there is none.
    """
    column = np.arange(length - 1)
    first = (length - (end - start))[:, None]
    if not baskets:
        return np.where(column >= first, column, -1).astype(np.int32)
    place = np.maximum(end[:, None] + np.arange(-length, 0), 0)
    # The column before a basket's first one; what the padding has for a time does not matter.
    opens = np.diff(events.time_us[place], axis=1) != 0
    before = np.maximum.accumulate(np.where(opens, column, -1), axis=1)
    return np.where(before >= first, before, -1).astype(np.int32)


def compact(history: tf.Tensor, *, length: int) -> tf.Tensor:
    """Bring the events of each row together at its end.

    Args:
        history: Item rows, int32 [B, L], most recent last, −1 is padding, anywhere.
        length: Only so many most recent events of each row are kept.

    Returns:
        Item rows, int32 [B, T], padding first; 1 ≤ T ≤ max(length, 1), as few as the batch needs.
    """
    real = history >= 0
    order = tf.argsort(tf.cast(real, tf.int32), axis=1, stable=True)
    together = tf.gather(history, order, axis=1, batch_dims=1)
    together = tf.pad(together, [[0, 0], [1, 0]], constant_values=-1)
    most = tf.reduce_max(tf.reduce_sum(tf.cast(real, tf.int32), axis=1))
    return together[:, -tf.clip_by_value(most, 1, length) :]
