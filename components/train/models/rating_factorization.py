"""Matrix factorization for explicit ratings: SVD++.

Task: how would this user rate an item, given who they are and which items they took before. Items
are ordered by that rating, which is another question than what is taken next: rankings of what is
taken are the other models' business.

Shapes: B users, n items, d = `dimension`, N(h) the different items of a history h.

    r̂(u, h, i) = μ + b_u + b_i + q_i · ( p_u + |N(h)|^−½ Σ_{j ∈ N(h)} y_j )

with μ the mean of the train ratings, b_u and b_i the biases, p [users, d], q and y [items, d]. What
is unknown adds nothing: a stranger without history is given μ + b_i. In training, N(h) is all the
user has in the train split but the item asked for: no item explains its own rating.

Loss, over the ratings K and the U users of the train split:

    1/|K| ( Σ_{(u,i) ∈ K} (r − r̂)² + λ (‖p_u‖² + ‖q_i‖²) + λ_b (b_u² + b_i²)
            + λ_y U Σ_j ‖y_j‖² )

Koren, Bell & Volinsky, "Matrix Factorization Techniques for Recommender Systems" (IEEE Computer
2009), eq. 5; the implicit part is Koren, "Factorization Meets the Neighborhood" (KDD 2008), eq. 15.
An event without a rating is no label, and stays a part of its user's history.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.study.space import Range, Space
from components.train.hyperparameters import Hyperparameters
from components.train.interactions import (
    Baskets,
    Int32,
    Interactions,
    histories,
    places,
    select,
    whole_users,
)
from components.train.items import ItemTable
from components.train.ratings import RatingScale
from components.train.repeats import read_history
from components.train.retrieval import Stepped
from components.train.shares import WHOLE, Share, once

_INTS = tf.TensorSpec([None], tf.int32)


class RatingBatch(NamedTuple):
    """Users with all their ratings.

    Attributes:
        user: `user_id`, [B].
        history: Item rows, [B, L], −1 is padding.
        query: Row of each rating's user, [labels].
        label: Item row of each rating, [labels].
        rating: Ratings, float32 [labels].
        seen: 1 where the rating's item is in its user's history, else 0, float32 [labels].
        total: Ratings of the whole batch, on all devices, a scalar.
    """

    user: Int32
    history: Int32
    query: Int32
    label: Int32
    rating: npt.NDArray[np.float32]
    seen: npt.NDArray[np.float32]
    total: Int32

    @property
    def labels(self) -> int:
        """Ratings of the whole batch."""
        return int(self.total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatingFactorizationHyperparameters(Hyperparameters):
    """Settings of the factorization; the defaults are those of MovieLens-100K's validation part.

    Attributes:
        dimension: Length of the vectors, d.
        history_length: Most recent events that are read.
        batch_users: Users in one step, with all their ratings.
        l2: λ, the weight of the vectors' squares.
        l2_bias: λ_b, the weight of the biases' squares.
        l2_history: λ_y, the weight of the squares of y.
    """

    epochs: int = 40
    learning_rate: float = 0.003
    dimension: int = 20
    history_length: int = 1000
    batch_users: int = 64
    l2: float = 0.1
    l2_bias: float = 0.01
    l2_history: float = 0.1

    further_attempts = ({"learning_rate": 0.001}, {"learning_rate": 0.001, "dimension": 40})
    search_space: ClassVar[Space] = {
        "learning_rate": Range(0.0005, 0.02, log=True),
        "dimension": Range(8, 64, log=True),
        "l2": Range(0.01, 1.0, log=True),
        "l2_bias": Range(0.001, 0.1, log=True),
        "l2_history": Range(0.01, 1.0, log=True),
    }


class RatingFactorization(Stepped):
    """See the file's docstring."""

    predicts = "rating"
    settings: RatingFactorizationHyperparameters
    signature = RatingBatch(
        _INTS, tf.TensorSpec([None, None], tf.int32), _INTS, _INTS,
        tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([], tf.int32),
    )  # fmt: skip

    def __init__(
        self, items: ItemTable, settings: RatingFactorizationHyperparameters, *, seed: int
    ) -> None:
        """Make the variables.

        Args:
            items: Item table.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items)
        self.settings = settings
        self.history_length = settings.history_length
        users, ids, d = items.sizes["user"], items.sizes["item"], settings.dimension
        start = np.array(keras.initializers.RandomNormal(stddev=0.05, seed=seed)((ids, d)))
        start[items.vocabulary :] = 0.0
        # p and y start at zero: what no event trains, such as an OOV bucket, adds nothing.
        self.item_embedding = self.add_weight(start.shape, initializer=lambda *a, **k: start)
        self.user_embedding = self.add_weight((users, d), initializer="zeros", name="user")
        self.history_embedding = self.add_weight((ids, d), initializer="zeros", name="history")
        self.user_bias = self.add_weight((users,), initializer="zeros", name="user_bias")
        self.item_bias = self.add_weight((ids,), initializer="zeros", name="item_bias")
        self.scale = RatingScale()
        self.users_per_rating = self.add_weight((), initializer="zeros", trainable=False)
        self.built = True

    def tables(self) -> list[tuple[keras.Variable, str]]:
        """See `Retrieval.tables`."""
        by_user = (self.user_embedding, self.user_bias)
        by_item = (self.item_embedding, self.item_bias, self.history_embedding)
        return [*((table, "user") for table in by_user), *((table, "item") for table in by_item)]

    def prepare(self, shards: Iterable[Interactions]) -> None:
        """See `Stepped.prepare`: the mean of the ratings, and how many users share them."""
        ratings = self.scale.fit(shards)
        users = sum(len(whole_users(events)) for events in shards)
        self.users_per_rating.assign(users / ratings)

    def epoch_batches(
        self, events: Interactions, *, seed: int, epoch: int, shares: Sequence[Share] = WHOLE
    ) -> Iterator[tuple[RatingBatch, ...]]:
        """See `Stepped.epoch_batches`."""
        everyone = whole_users(events)
        order = events.random(seed=seed, epoch=epoch).permutation(len(everyone))
        for start in range(0, len(order), self.settings.batch_users):
            chosen = select(everyone, order[start : start + self.settings.batch_users])
            assert events.rating is not None
            total = np.isfinite(events.rating[places(chosen)[1]]).sum()
            if total:
                yield tuple(self._part(events, chosen, share, total) for share in shares)

    def _part(
        self, events: Interactions, users: Baskets, share: Share, total: np.int64
    ) -> RatingBatch:
        assert events.rating is not None
        own = select(users, share.of(len(users)))
        query, place = places(own)
        rated = np.isfinite(events.rating[place])
        query, place = query[rated], place[rated]
        return RatingBatch(
            own.user,
            histories(events, own, length=self.history_length),
            query,
            events.item[place],
            events.rating[place],
            (place >= own.end[query] - self.history_length).astype(np.float32),
            np.array(total, np.int32),
        )

    def batch_loss(self, batch: RatingBatch) -> tf.Tensor:
        """See `Stepped.batch_loss`."""
        total, count = self._pool(batch.history)
        label = tf.gather(self.item_ids["item"], batch.label)
        user = tf.gather(batch.user, batch.query)
        seen, own = batch.seen, tf.gather(self.history_embedding.value, label)
        others = tf.gather(total, batch.query) - seen[:, tf.newaxis] * own
        others *= tf.math.rsqrt(tf.maximum(tf.gather(count, batch.query) - seen, 1.0))[
            :, tf.newaxis
        ]
        taste, item = tf.gather(self.user_embedding.value, user), self._vectors(label)
        bias = tf.gather(self.user_bias.value, user), tf.gather(self.item_bias.value, label)
        predicted = self.scale.mean.value + bias[0] + bias[1]
        predicted += tf.reduce_sum(item * (taste + others), axis=1)
        settings = self.settings
        loss = tf.square(batch.rating - predicted)
        loss += settings.l2 * tf.reduce_sum(tf.square(taste) + tf.square(item), axis=1)
        loss += settings.l2_bias * (tf.square(bias[0]) + tf.square(bias[1]))
        squares = tf.reduce_sum(tf.square(self.history_embedding.value))
        weight = settings.l2_history * self.users_per_rating.value
        return tf.reduce_sum(loss) / tf.cast(batch.total, tf.float32) + once(weight * squares)

    def _vectors(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.item_embedding.value, ids)

    def _pool(self, history: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return Σ y over each history's different items, [B, d], and their number, [B]."""
        place, _, occurrence = read_history(history, length=self.history_length)
        place = tf.cast(tf.boolean_mask(place, occurrence == 0), tf.int64)
        ids = tf.gather(self.item_ids["item"], place[:, 1])
        users = tf.shape(history, tf.int64)[0]
        taken = tf.SparseTensor(
            tf.stack([place[:, 0], tf.cast(ids, tf.int64)], axis=1),
            tf.ones_like(ids, tf.float32),
            tf.stack([users, tf.constant(self.items.sizes["item"], tf.int64)]),
        )
        count = tf.math.unsorted_segment_sum(taken.values, place[:, 0], users)
        return tf.sparse.sparse_dense_matmul(taken, self.history_embedding.value), count

    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Retrieval.index`."""
        ids = self.item_ids["item"]
        return self._vectors(ids), self.scale.mean.value + tf.gather(self.item_bias.value, ids)

    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_all`; the scores are not cut, so that they still make an order."""
        total, count = self._pool(history)
        query = total * tf.math.rsqrt(tf.maximum(count, 1.0))[:, tf.newaxis]
        query += tf.gather(self.user_embedding.value, user)
        own = tf.gather(self.user_bias.value, user)[:, tf.newaxis]
        return self.product(query, vectors) + bias + own

    def prediction(self, scores: tf.Tensor) -> tf.Tensor:
        """See `Retrieval.prediction`."""
        return self.scale.cut(scores)
