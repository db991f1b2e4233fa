"""Matrix factorization for implicit feedback.

Task: what does this user take next, from who they are alone; the history is not read.

Shapes: B queries, n items, d = `dimension`. s(u, i) = p_u · v_i + b_i, with p [users, d], v [n, d];
b_i starts at the log of the item's share of events, so that an unknown user, whose p is zero, is
given the popular items.

Loss: in-batch sampled softmax with logQ correction (`components/train/sampled_softmax.py`; Yi et
al. 2019), and λ / |events| · (Σ_u ‖p_u‖² + Σ_i ‖v_i‖²), λ = `l2`. Model: Koren, Bell & Volinsky,
"Matrix Factorization Techniques for Recommender Systems" (IEEE Computer 2009), eq. 4 without the
user's bias, which does not change an order of items.
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from components.study.space import Range, Space
from components.train.baskets import BasketBatch, BasketHyperparameters, BasketModel
from components.train.items import ItemTable
from components.train.shares import once, shared


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixFactorizationHyperparameters(BasketHyperparameters):
    """Settings of the factorization.

    Attributes:
        dimension: Length of the vectors, d.
        l2: λ, the weight of the vectors' squares; 0 costs nothing.
    """

    dimension: int = 64
    l2: float = 0.0

    further_attempts = ({"learning_rate": 0.001}, {"learning_rate": 0.001, "dimension": 128})
    search_space: ClassVar[Space] = {
        "learning_rate": Range(0.0003, 0.03, log=True),
        "dimension": Range(16, 128, log=True),
        "batch_baskets": Range(128, 2048, log=True),
        "l2": Range(0.0, 1.0),
    }


class MatrixFactorization(BasketModel):
    """See the file's docstring."""

    settings: MatrixFactorizationHyperparameters

    def __init__(
        self, items: ItemTable, settings: MatrixFactorizationHyperparameters, *, seed: int
    ) -> None:
        """Make the variables.

        Args:
            items: Item table.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items, settings)
        random = keras.initializers.RandomNormal(stddev=0.05, seed=seed)
        shape = (items.sizes["item"], settings.dimension)
        self.item_embedding = self.add_weight(shape, initializer=random, name="item")
        # Zero, so that the buckets of unknown users, which no event trains, add nothing.
        shape = (items.sizes["user"], settings.dimension)
        self.user_embedding = self.add_weight(shape, initializer="zeros", name="user")
        self.item_bias = self.prior_bias()
        self.built = True

    def tables(self) -> list[tuple[keras.Variable, str]]:
        """See `Retrieval.tables`."""
        by_item = [(self.item_embedding, "item"), (self.item_bias, "item")]
        return [(self.user_embedding, "user"), *by_item]

    def batch_scores(
        self, user: tf.Tensor, history: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See `BasketModel.batch_scores`."""
        rows, column = tf.unique(labels)
        ids = tf.gather(self.item_ids["item"], rows)
        vectors = shared(tf.gather(self.item_embedding.value, ids))
        scores = self.product(tf.gather(self.user_embedding.value, user), vectors)
        return scores + shared(tf.gather(self.item_bias.value, ids)), rows, column

    def batch_loss(self, batch: BasketBatch) -> tf.Tensor:
        """See `Stepped.batch_loss`."""
        loss = super().batch_loss(batch)
        if self.settings.l2:
            tables = (self.user_embedding, self.item_embedding)
            squares = tf.add_n([tf.reduce_sum(tf.square(table.value)) for table in tables])
            loss += self.settings.l2 / float(self.items.counts.sum()) * once(squares)
        return loss

    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Retrieval.index`."""
        ids = self.item_ids["item"]
        return tf.gather(self.item_embedding.value, ids), tf.gather(self.item_bias.value, ids)

    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_all`."""
        query = tf.gather(self.user_embedding.value, user)
        return self.product(query, vectors) + bias
