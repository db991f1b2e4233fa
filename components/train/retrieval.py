"""What every model must be able to do, and what they share."""

import abc

import keras
import numpy as np
import tensorflow as tf

from components.train.hyperparameters import Hyperparameters
from components.train.items import ItemTable


class Retrieval(keras.Model, abc.ABC):  # type: ignore[misc]  # keras ships no types
    """A model that scores every item for a query (user, history).

    Attributes:
        items: The item table.
        history_length: Events of history the model reads; 0 for a model that reads none.
    """

    history_length: int = 0

    def __init__(self, items: ItemTable) -> None:
        """Keep the item table's arrays as constants of the graph."""
        super().__init__()
        self.items = items
        self.item_ids = {name: tf.constant(ids) for name, ids in items.ids.items()}
        self.item_tokens = {name: tf.constant(tokens) for name, tokens in items.tokens.items()}
        self.item_numbers = tf.constant(items.numbers)

    def prior_bias(self) -> keras.Variable:
        """Make the items' bias, [item ids], started at the log of their share of the events.

        An id without events starts as if it had half an event.
        """
        ids, counts = self.items.ids["item"], np.maximum(self.items.counts, 0)
        by_id = np.bincount(ids, counts, minlength=self.items.sizes["item"])
        prior = np.log(np.maximum(by_id, 0.5) / max(counts.sum(), 1)).astype(np.float32)
        return self.add_weight(prior.shape, initializer=lambda *a, **k: prior, name="item_bias")

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


class Stepped(Retrieval):
    """A model that learns by steps along a loss's gradient, epoch after epoch.

    Attributes:
        settings: Its hyper-parameters.
    """

    settings: Hyperparameters

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
