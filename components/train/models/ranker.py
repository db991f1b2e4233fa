"""A deep & cross ranker on features of the user, the item and their history (DLNN).

Task, by the setting `task`:

* `click`: does this user take this item? Label 1: the events of the log. Label 0: `negatives` items
  for each event, drawn evenly from the catalogue, without those of the same basket. The log holds
  no impressions (every event of it is something the user did), so they are always drawn.
* `rating`: how does this user rate this item? Label: the events' ratings; an event without one is
  no label, and stays a part of its user's history.

Shapes: B queries, n items, d = `dimension`, A age bands.

* Query: x_u = [E_user[u]; Σ_a M_a · mean{E_item[j] : j in the history, age in band a};
  log(1 + events in the history)], [B, 2d + 1]. Age is the number of events since.
* Item: x_i = [E_item[i]; E_f[i's category f] for each; mean of E_token for each text; numbers].
* Score: s(u, h, i) = b_i + DeepCross(x_u, x_i) + Σ_{events e of h with item i} R[age band(e),
  occurrence(e)], the last a wide part for what the user already had (Cheng et al., "Wide & Deep
  Learning for Recommender Systems", DLRS 2016, §3.1). DeepCross: `components/train/deep_cross.py`,
  DCN V2 (Wang et al., WWW 2021) beside an MLP 128-64-1.
* Context is what a request holds: how long the history is and how long ago, in events, its items
  were taken. Requests carry no time, so time of day and weekday are no features: a model that
  learned them would be served without them.

Loss: for `click`, with m = `negatives`, over the labels y ∈ {0, 1} of the batch,

    − mean( y log σ(s − log m) + (1 − y) log(1 − σ(s − log m)) )

so that s itself is the log-odds against *one* drawn item, log(P(i | u, h) · n), whatever m is; b_i
starts at log(share of events of i · n), popularity's own value. (The correction for a sampled class
is King & Zeng, "Logistic Regression in Rare Events Data", Political Analysis 2001, eq. 7.) For
`rating`, mean (r − μ − s)², with μ the mean of the train ratings, b_i from 0. To either is added
λ mean(‖E_user[u]‖² + ‖E_item[i]‖²) over the labels' pairs, λ = `l2`.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.study.space import Range, Space
from components.train.baskets import BasketHyperparameters, shuffled_baskets
from components.train.deep_cross import DeepCross
from components.train.hyperparameters import below
from components.train.interactions import Int32, Interactions, histories, places
from components.train.items import ItemTable, mean_of_tokens
from components.train.negatives import draw_negatives
from components.train.ratings import RatingScale
from components.train.repeats import (
    REPEAT_SCALE,
    band,
    mean_by_age,
    read_history,
    sums_of_pairs,
)
from components.train.retrieval import Stepped
from components.train.shares import WHOLE, Share

# What `read_history` returns.
History = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
_INTS, _FLOATS = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)


class RankerBatch(NamedTuple):
    """Queries and their labels.

    Attributes:
        user: `user_id`, [B].
        history: Item rows, [B, L], most recent last, −1 is padding.
        query: Row of each label's query, [labels].
        label: Item row of each label, [labels].
        rating: Ratings, float32 [labels]; not read by the task `click`.
        seed: Seed of the step, [2].
    """

    user: Int32
    history: Int32
    query: Int32
    label: Int32
    rating: npt.NDArray[np.float32]
    seed: Int32

    @property
    def labels(self) -> int:
        """Labels trained on, without the drawn negatives."""
        return len(self.label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankerHyperparameters(BasketHyperparameters):
    """Settings of the ranker.

    Attributes:
        task: `click` or `rating`.
        dimension: Length of the embeddings, d.
        history_length: Most recent events that are read.
        age_bands: Logarithmic bands of age.
        occurrences: Purchases of one item told apart by the wide part; later ones count as last.
        id_dropout: Probability that an item's own embedding is hidden in a training step, so that
            content alone also finds an item's place.
        negatives: m, items drawn for each event; `click` alone.
        cross_layers: Cross layers.
        cross_rank: Their rank, r.
        hidden_1: Units of the first hidden layer.
        hidden_2: Units of the second.
        l2: λ, the weight of the embeddings' squares.
        l2_network: λ_w, the weight of the squares of the network's matrices.
    """

    task: Literal["click", "rating"] = "click"
    dimension: int = 16
    history_length: int = 256
    age_bands: int = 9
    occurrences: int = 8
    id_dropout: float = below(1.0, default=0.1)
    negatives: int = 4
    cross_layers: int = 2
    cross_rank: int = 16
    hidden_1: int = 128
    hidden_2: int = 64
    l2: float = 0.0
    l2_network: float = 0.0

    further_attempts = ({"learning_rate": 0.001}, {"learning_rate": 0.001, "dimension": 32})
    search_space: ClassVar[Space] = {
        "learning_rate": Range(0.0003, 0.01, log=True),
        "dimension": Range(8, 64, log=True),
        "negatives": Range(2, 16, log=True),
        "cross_layers": Range(1, 3),
        "l2": Range(0.0, 0.1),
    }


class Ranker(Stepped):
    """See the file's docstring."""

    settings: RankerHyperparameters
    signature = RankerBatch(
        _INTS, tf.TensorSpec([None, None], tf.int32), _INTS, _INTS, _FLOATS,
        tf.TensorSpec([2], tf.int32),
    )  # fmt: skip

    def __init__(self, items: ItemTable, settings: RankerHyperparameters, *, seed: int) -> None:
        """Make the variables.

        Args:
            items: Item table; its sizes and counts shape and start the variables.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items)
        self.settings, self.predicts = settings, settings.task
        self.history_length = settings.history_length
        size, d = items.sizes, settings.dimension
        # Large enough that the products of two of them, which are the crosses, can be learned.
        random = keras.initializers.RandomNormal(stddev=0.2, seed=seed)

        def table(rows: int, name: str) -> keras.Variable:
            # An OOV bucket starts, and without events stays, at zero: it says nothing.
            start = np.array(random((rows, d)))
            start[rows - (size["item"] - items.vocabulary) :] = 0.0
            return self.add_weight(start.shape, initializer=lambda *a, **k: start, name=name)

        self.item_embedding = table(size["item"], "item")
        self.user_embedding = table(size["user"], "user")
        self.category = {n: table(size[n], n) for n in sorted(items.ids) if n != "item"}
        self.token = {name: table(size[name], name) for name in sorted(items.tokens)}
        eye = np.concatenate(
            [np.eye(d, dtype=np.float32) / settings.age_bands] * settings.age_bands
        )
        self.mix = self.add_weight(eye.shape, initializer=lambda *a, **k: eye, name="mix")
        self.network = DeepCross(
            2 * d + 1,
            d * (1 + len(self.category) + len(self.token)) + items.numbers.shape[1],
            layers=settings.cross_layers,
            rank=settings.cross_rank,
            hidden=(settings.hidden_1, settings.hidden_2),
            seed=seed,
        )
        shape = (settings.age_bands, settings.occurrences)
        self.repeat = self.add_weight(shape, initializer="zeros", name="repeat")
        if settings.task == "click":
            self.item_bias = self.prior_bias()
        else:
            self.item_bias = self.add_weight((size["item"],), initializer="zeros", name="item_bias")
        self.scale = RatingScale()
        numbers = ("numbers",) if items.numbers.shape[1] else ()
        self.features = ("item", *self.category, *self.token, *numbers)
        self.built = True

    def tables(self) -> list[tuple[keras.Variable, str]]:
        """See `Retrieval.tables`."""
        by_item = [(self.item_embedding, "item"), (self.item_bias, "item")]
        by_feature = [(table, name) for name, table in (self.category | self.token).items()]
        return [(self.user_embedding, "user"), *by_item, *by_feature]

    def prepare(self, shards: Iterable[Interactions]) -> None:
        """See `Stepped.prepare`: the scale of the ratings."""
        if self.settings.task == "rating":
            self.scale.fit(shards)

    def epoch_batches(
        self, events: Interactions, *, seed: int, epoch: int, shares: Sequence[Share] = WHOLE
    ) -> Iterator[tuple[RankerBatch, ...]]:
        """See `Stepped.epoch_batches`; its negatives are drawn for a whole batch, on one device."""
        rated = events.rating if self.settings.task == "rating" else None
        for chosen, step in shuffled_baskets(events, self.settings, seed=seed, epoch=epoch):
            query, place = places(chosen)
            rating = np.zeros(len(place), np.float32) if rated is None else rated[place]
            known = np.isfinite(rating)
            query, place, rating = query[known], place[known], rating[known]
            if len(place):
                history = histories(events, chosen, length=self.history_length)
                item = events.item[place]
                yield (RankerBatch(chosen.user, history, query, item, rating, step),)

    def batch_loss(self, batch: RankerBatch) -> tf.Tensor:
        """See `Stepped.batch_loss`."""
        query, rows = batch.query, batch.label
        if self.settings.task == "click":
            drawn, drawn_query, allowed = draw_negatives(
                query, rows, each=self.settings.negatives, items=len(self.items), seed=batch.seed
            )
            query, rows = tf.concat([query, drawn_query], 0), tf.concat([rows, drawn], 0)
        different, column = tf.unique(rows)
        history = read_history(batch.history, length=self.history_length)
        scores = self.network(
            tf.gather(self.query_parts(batch.user, history), query),
            tf.gather(self.item_parts(different, seed=batch.seed), column),
        )
        ids = tf.gather(self.item_ids["item"], rows)
        pairs = tf.stack([query, rows], axis=1)
        scores += tf.gather(self._bias(), ids)
        scores += sums_of_pairs(self._repeats(history), history[0], pairs)
        if self.settings.task == "click":
            positives = tf.ones_like(batch.label, tf.float32)
            label = tf.concat([positives, tf.zeros_like(allowed)], axis=0)
            weight = tf.concat([positives, allowed], axis=0)
            odds = scores - tf.math.log(float(self.settings.negatives))
            loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=odds)
            loss = tf.reduce_sum(weight * loss) / tf.reduce_sum(weight)
        else:
            loss = tf.reduce_mean(tf.square(batch.rating - scores))
        user = tf.gather(self.user_embedding.value, tf.gather(batch.user, query))
        squares = tf.square(user) + tf.square(tf.gather(self.item_embedding.value, ids))
        loss += self.settings.l2 * tf.reduce_mean(tf.reduce_sum(squares, axis=1))
        return loss + self.settings.l2_network * self.network.squares()

    def query_parts(self, user: tf.Tensor, history: History) -> tf.Tensor:
        """Return the queries' side of the network; see `DeepCross.parts`."""
        place, age, _ = history
        queries = tf.shape(user)[0]
        ids = tf.gather(self.item_ids["item"], place[:, 1])
        pooled = mean_by_age(
            self.item_embedding.value, tf.stack([place[:, 0], ids], axis=1), age,
            bands=self.settings.age_bands, queries=queries,
        )  # fmt: skip
        count = tf.math.bincount(place[:, 0], minlength=queries, maxlength=queries)
        length = tf.math.log1p(tf.cast(count, tf.float32))[:, tf.newaxis]
        own = tf.gather(self.user_embedding.value, user)
        features = tf.concat([own, pooled @ self.mix.value, length], axis=1)
        return self.network.parts(features, self.network.first_query)

    def item_parts(
        self, rows: tf.Tensor, *, seed: tf.Tensor | None = None, without: str = ""
    ) -> tf.Tensor:
        """Return the items' side of the network.

        Args:
            rows: The items, int [rows].
            seed: Turns id dropout on, int32 [2].
            without: Feature that is zero for all of them.
        """
        fields = {"item": tf.gather(self.item_embedding.value, self._ids("item", rows))}
        if seed is not None:
            drawn = tf.random.stateless_uniform([tf.shape(rows)[0], 1], seed)
            fields["item"] *= tf.cast(drawn >= self.settings.id_dropout, tf.float32)
        for name, table in self.category.items():
            fields[name] = tf.gather(table.value, self._ids(name, rows))
        for name, table in self.token.items():
            fields[name] = mean_of_tokens(table.value, tf.gather(self.item_tokens[name], rows))
        fields["numbers"] = tf.gather(self.item_numbers, rows)
        if without:
            fields[without] = tf.zeros_like(fields[without])
        features = tf.concat(list(fields.values()), axis=1)
        return self.network.parts(features, self.network.first_item)

    def _ids(self, name: str, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.item_ids[name], rows)

    def _bias(self) -> tf.Tensor:
        """Return what each item id is worth by itself, [item ids]: in log-odds, or in ratings."""
        start = math.log(len(self.items)) if self.settings.task == "click" else self.scale.mean
        return self.item_bias.value + start

    def _repeats(self, history: History) -> tf.Tensor:
        """Return what each event of the histories adds to its own item, float32 [events]."""
        _, age, occurrence = history
        limit = self.settings.occurrences - 1
        bands = band(age, bands=self.settings.age_bands)
        cell = tf.stack([bands, tf.minimum(occurrence, limit)], axis=1)
        return REPEAT_SCALE * tf.gather_nd(self.repeat.value, cell)

    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Retrieval.index`; a vector is the item's side of the network."""
        rows = tf.range(len(self.items))
        return self.item_parts(rows), tf.gather(self._bias(), self.item_ids["item"])

    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_all`: some items at a time, so that memory does not grow with n.

        Equal queries are scored once: an evaluation asks for many items of one user.
        """
        asked = tf.concat([tf.cast(user, tf.int32)[:, tf.newaxis], history], axis=1)
        different, place = tf.raw_ops.UniqueV2(x=asked, axis=[0])
        read = read_history(different[:, 1:], length=self.history_length)
        scores = self.network.score_all(self.query_parts(different[:, 0], read), vectors) + bias
        scores = tf.tensor_scatter_nd_add(scores, read[0], self._repeats(read))
        return tf.gather(scores, place)

    def vectors_without(self, rows: tf.Tensor, feature: str) -> tf.Tensor:
        """See `Retrieval.vectors_without`: its field is zero, as for an unknown one."""
        return self.item_parts(rows, without=feature)

    def score_own(
        self, user: tf.Tensor, history: tf.Tensor, rows: tf.Tensor, own: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_own`."""
        read = read_history(history, length=self.history_length)
        scores = self.network(self.query_parts(user, read), own)
        pairs = tf.stack([tf.range(tf.shape(user)[0]), rows], axis=1)
        return scores + bias + sums_of_pairs(self._repeats(read), read[0], pairs)

    def prediction(self, scores: tf.Tensor) -> tf.Tensor:
        """See `Retrieval.prediction`."""
        return self.scale.cut(scores) if self.settings.task == "rating" else scores
