"""What every model must be able to do, and what they share."""

import abc
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import keras
import numpy as np
import tensorflow as tf

from components.train.hyperparameters import Hyperparameters
from components.train.interactions import Interactions
from components.train.items import ItemTable
from components.train.shares import WHOLE, Share


class Batch(Protocol):
    """What a device learns from in one step: a NamedTuple of arrays, chosen by its model."""

    @property
    def labels(self) -> int:
        """Labels that the step trains on, on all devices."""


class Retrieval(keras.Model, abc.ABC):  # type: ignore[misc]  # keras ships no types
    """A model that scores every item for a query (user, history).

    Attributes:
        items: The item table.
        history_length: Events of history the model reads; 0 for a model that reads none.
        predicts: What a score says beside an order of items: "rating", the user's rating of the
            item; "click", the log-odds that the user takes it, against one item drawn evenly from
            the catalogue; "" nothing. The SavedModel has a signature of that name.
        features: What an item's vector is made of, by name, its id and what its content says;
            empty for a model that knows items by their id alone.
    """

    history_length: int = 0
    features: tuple[str, ...] = ()
    predicts: Literal["", "rating", "click"] = ""

    def __init__(self, items: ItemTable) -> None:
        """Keep the item table's arrays as constants of the graph."""
        super().__init__()
        self.items = items
        self.item_ids = {name: tf.constant(ids) for name, ids in items.ids.items()}
        self.item_tokens = {name: tf.constant(tokens) for name, tokens in items.tokens.items()}
        self.item_numbers = tf.constant(items.numbers)

    def prior_bias(self) -> keras.Variable:
        """Make the items' bias, [item ids], started at the log of their share of the events.

        An id without events starts as if it had half an event; one that several items share, a
        bucket of those outside the vocabulary, has the mean of theirs.
        """
        ids, counts = self.items.ids["item"], self.items.counts
        events = np.bincount(ids, counts, minlength=self.items.sizes["item"])
        mean = events / np.maximum(np.bincount(ids, minlength=len(events)), 1)
        prior = np.log(np.maximum(mean, 0.5) / max(counts.sum(), 1)).astype(np.float32)
        return self.add_weight(prior.shape, initializer=lambda *a, **k: prior, name="item_bias")

    def product(self, queries: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        """Return queries · vectorsᵀ, float32 [B, C], computed in the model's precision."""
        left, right = tf.cast(queries, self.compute_dtype), tf.cast(vectors, self.compute_dtype)
        return tf.cast(tf.matmul(left, right, transpose_b=True), tf.float32)

    def tables(self) -> list[tuple[keras.Variable, str]]:
        """Return the variables that have a row per id, each with the feature whose ids they are."""
        return []

    def remarks(self) -> tuple[str, ...]:
        """Return sentences about what was trained that a reader of the report must know."""
        return ()

    @abc.abstractmethod
    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return every item's vector, float32 [n, d], and bias, float32 [n]."""

    @abc.abstractmethod
    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Score every item, float32 [B, n], with the index's vectors and bias."""

    def score_pairs(
        self,
        user: tf.Tensor,
        history: tf.Tensor,
        rows: tf.Tensor,
        vectors: tf.Tensor,
        bias: tf.Tensor,
    ) -> tf.Tensor:
        """Score one item of each query, float32 [B]; `rows` are item rows, int32 [B]."""
        if self.features:
            own, own_bias = tf.gather(vectors, rows), tf.gather(bias, rows)
            return self.score_own(user, history, rows, own, own_bias)
        return tf.gather(self.score_all(user, history, vectors, bias), rows, axis=1, batch_dims=1)

    def vectors_without(self, rows: tf.Tensor, feature: str) -> tf.Tensor:
        """Return `index`'s vectors of some rows, [rows, d], without one of `features`."""
        raise NotImplementedError

    def score_own(
        self, user: tf.Tensor, history: tf.Tensor, rows: tf.Tensor, own: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Score one item of each query, float32 [B], by a vector of its own; of `features` only.

        Args:
            user: `user_id`, int [B].
            history: Item rows, int32 [B, L].
            rows: The items, int32 [B].
            own: Their vectors, [B, d].
            bias: Their biases, float32 [B].
        """
        raise NotImplementedError

    def prediction(self, scores: tf.Tensor) -> tf.Tensor:
        """Return what scores predict, in the unit of what was learned; see `predicts`."""
        return scores


class Stepped(Retrieval):
    """A model that learns by steps along a loss's gradient, epoch after epoch.

    Attributes:
        settings: Its hyper-parameters.
        signature: A batch of `tf.TensorSpec`: the shapes of the batches it trains on.
    """

    settings: Hyperparameters
    signature: Any

    def prepare(self, shards: Iterable[Interactions]) -> None:
        """Take from the train split what no step learns; called once, before the first.

        Raises:
            InputError: If the events lack what the model learns from.
        """

    @abc.abstractmethod
    def epoch_batches(
        self, events: Interactions, *, seed: int, epoch: int, shares: Sequence[Share] = WHOLE
    ) -> Iterator[tuple[Batch, ...]]:
        """Yield an epoch's batches of some shard's events, each as the parts of some devices.

        The same shard, seed and epoch give the same batches, however they are shared. An epoch
        depends on nothing before it: a run that is resumed sees what it would have seen.
        """

    @abc.abstractmethod
    def batch_loss(self, batch: Any) -> tf.Tensor:
        """Return this device's part of the mean loss over a batch's labels, a scalar.

        The parts of the devices add up to that mean. Traced with `signature`.
        """
