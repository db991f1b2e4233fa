"""Two towers and a repeat term.

Task: what does this user take next, given who they are and what they took before; every item of
the catalogue is a candidate, also one that was never bought.

Shapes: B queries, L events of history, n items, d = `dimension`, A age bands.

* Item tower: v_i = E_item[i] + Σ_f E_f[i's category f] + mean of E_token + W · numbers, [n, d].
  `id_dropout` hides E_item at random, so that content alone also finds its place: an item that was
  never bought has nothing else.
* Query tower: q = E_user[u] + Σ_a W_a · mean{E_item[j] : j in the history, age in band a}, [B, d].
  Age is the number of events since, in bands 0, 1, 2–3, 4–7, …
* Repeat weight: a shop's customers buy again what they bought. Each event of the history gives its
  own item a learned positive weight, by its age band and by how many purchases of the same item
  came after it: r(h, i) = Σ_{events e of h with item i} exp(R[age band(e), occurrence(e)] + ρ_i).
* Score: s(q, i) = log( exp(q · v_i + b_i) + r(h, i) ). What is taken next is either found or
  repeated: a mixture, so that a household's own habit need not be popular elsewhere. b_i starts at
  the log of the item's share of events. An item outside the history keeps s = q · v_i + b_i.

Loss: in-batch sampled softmax with logQ correction over all items of the batch's baskets
(`components/train/sampled_softmax.py`; Yi et al. 2019). The mixture is that of RepeatNet (Ren et
al., AAAI 2019) with the two parts' normalisers learned together; recency and frequency by a learned
table are after Anderson et al., "The Dynamics of Repeat Consumption" (WWW 2014).
"""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from components.study.space import Range, Space
from components.train.baskets import BasketHyperparameters, BasketModel
from components.train.hyperparameters import below
from components.train.items import ItemTable, mean_of_tokens
from components.train.repeats import REPEAT_SCALE, band, mean_by_age, read_history
from components.train.shares import shared


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoTowerHyperparameters(BasketHyperparameters):
    """Settings of the two towers; the defaults come from a few runs judged on the eval split.

    Attributes:
        dimension: Length of the vectors, d.
        history_length: Most recent events that are read.
        age_bands: Logarithmic bands of age.
        occurrences: Purchases of one item told apart by the repeat term; later ones count as last.
        id_dropout: Probability that an item's own embedding is hidden in a training step.
    """

    dimension: int = 32
    history_length: int = 256
    age_bands: int = 9
    occurrences: int = 8
    id_dropout: float = below(1.0, default=0.1)

    further_attempts = ({"learning_rate": 0.001}, {"learning_rate": 0.001, "dimension": 64})
    search_space: ClassVar[Space] = {
        "learning_rate": Range(0.0003, 0.01, log=True),
        "dimension": Range(16, 128, log=True),
        "batch_baskets": Range(128, 2048, log=True),
        "gap_days": Range(0.0, 28.0),
        "id_dropout": Range(0.0, 0.5),
    }


class TwoTower(BasketModel):
    """See the file's docstring."""

    settings: TwoTowerHyperparameters

    def __init__(self, items: ItemTable, settings: TwoTowerHyperparameters, *, seed: int) -> None:
        """Make the variables.

        Args:
            items: Item table; its sizes and counts shape and start the variables.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items, settings)
        self.history_length = settings.history_length
        size, d = items.sizes, settings.dimension
        random = keras.initializers.RandomNormal(stddev=0.05, seed=seed)

        def table(rows: int, name: str) -> keras.Variable:
            return self.add_weight((rows, d), initializer=random, name=name)

        # An OOV bucket starts, and without events stays, at zero: content alone speaks.
        start = np.array(random((size["item"], d)))
        start[items.vocabulary :] = 0.0
        self.item_embedding = self.add_weight(start.shape, initializer=lambda *a, **k: start)
        self.user_embedding = self.add_weight((size["user"], d), initializer="zeros", name="user")
        self.category = {n: table(size[n], n) for n in sorted(items.ids) if n != "item"}
        self.token = {name: table(size[name], name) for name in sorted(items.tokens)}
        self.number = table(items.numbers.shape[1], "numbers") if items.numbers.shape[1] else None
        eye = np.stack([np.eye(d, dtype=np.float32) * 0.3] * settings.age_bands)
        self.mix = self.add_weight(eye.shape, initializer=lambda *a, **k: eye, name="mix")
        self.item_bias = self.prior_bias()
        # Every event weighs as much at first: a count of purchases, beside the item's popularity.
        even = np.full((settings.age_bands, settings.occurrences), np.log(0.01) / REPEAT_SCALE)
        self.repeat = self.add_weight(even.shape, initializer=lambda *a, **k: even, name="repeat")
        self.item_repeat = self.add_weight((size["item"],), initializer="zeros", name="item_repeat")
        numbers = ("numbers",) if self.number is not None else ()
        self.features = ("item", *self.category, *self.token, *numbers)
        self.built = True

    def tables(self) -> list[tuple[keras.Variable, str]]:
        """See `Retrieval.tables`."""
        by_item = (self.item_embedding, self.item_bias, self.item_repeat)
        by_feature = [(table, name) for name, table in (self.category | self.token).items()]
        return [(self.user_embedding, "user"), *((t, "item") for t in by_item), *by_feature]

    def item_vectors(self, rows: tf.Tensor, *, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Return v of some rows, [rows, d]; a seed, int32 [2], turns id dropout on."""
        vectors = self._feature_part("item", rows)
        if seed is not None:
            drawn = tf.random.stateless_uniform([tf.shape(rows)[0], 1], seed)
            vectors *= tf.cast(drawn >= self.settings.id_dropout, tf.float32)
        for name in self.features[1:]:
            vectors += self._feature_part(name, rows)
        return vectors

    def _feature_part(self, feature: str, rows: tf.Tensor) -> tf.Tensor:
        """Return what a feature adds to the vectors of some rows, [rows, d]."""
        if feature in self.token:
            tokens = tf.gather(self.item_tokens[feature], rows)
            return mean_of_tokens(self.token[feature].value, tokens)
        if feature == "numbers" and self.number is not None:
            return tf.gather(self.item_numbers, rows) @ self.number.value
        table = self.item_embedding if feature == "item" else self.category[feature]
        return tf.gather(table.value, tf.gather(self.item_ids[feature], rows))

    def queries(self, user: tf.Tensor, place: tf.Tensor, age: tf.Tensor) -> tf.Tensor:
        """Return q, [B, d].

        Args:
            user: `user_id`, int [B].
            place: Query and item row of each event of the histories, int32 [events, 2].
            age: Events since, int32 [events].
        """
        bands, d = self.settings.age_bands, self.settings.dimension
        ids = tf.gather(self.item_ids["item"], place[:, 1])
        pooled = mean_by_age(
            self.item_embedding.value, tf.stack([place[:, 0], ids], axis=1), age,
            bands=bands, queries=tf.shape(user)[0],
        )  # fmt: skip
        mix = tf.reshape(self.mix.value, [bands * d, d])
        return tf.gather(self.user_embedding.value, user) + pooled @ mix

    def repeat_weights(self, rows: tf.Tensor, age: tf.Tensor, occurrence: tf.Tensor) -> tf.Tensor:
        """Return what each event of the histories weighs for its own item, float32 [events]."""
        limit = self.settings.occurrences - 1
        cell = tf.stack(
            [band(age, bands=self.settings.age_bands), tf.minimum(occurrence, limit)], axis=1
        )
        own = tf.gather(self.item_repeat.value, tf.gather(self.item_ids["item"], rows))
        return tf.exp(REPEAT_SCALE * tf.gather_nd(self.repeat.value, cell) + own)

    def batch_scores(
        self, user: tf.Tensor, history: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See `BasketModel.batch_scores`."""
        place, age, occurrence = read_history(history, length=self.history_length)
        rows, column = tf.unique(labels)
        vectors = shared(self.item_vectors(rows, seed=seed))
        scores = self.product(self.queries(user, place, age), vectors)
        ids = tf.gather(self.item_ids["item"], rows)
        scores += shared(tf.gather(self.item_bias.value, ids))
        column_of = tf.tensor_scatter_nd_update(
            tf.fill([len(self.items)], -1), rows[:, tf.newaxis], tf.range(tf.shape(rows)[0])
        )
        target = tf.gather(column_of, place[:, 1])
        among = tf.where(target >= 0)[:, 0]
        cell = tf.stack([tf.gather(place[:, 0], among), tf.gather(target, among)], axis=1)
        weight = self.repeat_weights(
            tf.gather(place[:, 1], among), tf.gather(age, among), tf.gather(occurrence, among)
        )
        return mixture(scores, cell, weight), rows, column

    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Retrieval.index`."""
        rows = tf.range(len(self.items))
        return self.item_vectors(rows), tf.gather(self.item_bias.value, self.item_ids["item"])

    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_all`."""
        place, age, occurrence = read_history(history, length=self.history_length)
        scores = self.product(self.queries(user, place, age), vectors) + bias
        return mixture(scores, place, self.repeat_weights(place[:, 1], age, occurrence))

    def vectors_without(self, rows: tf.Tensor, feature: str) -> tf.Tensor:
        """See `Retrieval.vectors_without`: the vector is the sum of its features' parts."""
        return self.item_vectors(rows) - self._feature_part(feature, rows)

    def score_own(
        self, user: tf.Tensor, history: tf.Tensor, rows: tf.Tensor, own: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_own`."""
        place, age, occurrence = read_history(history, length=self.history_length)
        scores = tf.reduce_sum(self.queries(user, place, age) * own, axis=1) + bias
        same = tf.where(place[:, 1] == tf.gather(rows, place[:, 0]))[:, 0]
        place, age, occurrence = (tf.gather(part, same) for part in (place, age, occurrence))
        cell = tf.stack([place[:, 0], tf.zeros_like(place[:, 0])], axis=1)
        weight = self.repeat_weights(place[:, 1], age, occurrence)
        return mixture(scores[:, tf.newaxis], cell, weight)[:, 0]


def mixture(scores: tf.Tensor, cell: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return log(exp(scores) + the sum of the weights in each cell), float32 [B, C].

    A cell without a weight keeps its score to the bit.

    Args:
        scores: Found: q · v + b, float32 [B, C].
        cell: Cell of each weight, int32 [weights, 2]; a cell may come more than once.
        weight: Weights > 0, float32 [weights].
    """
    columns = tf.shape(scores, tf.int64)[1]
    # Histories fill few of the cells: everything but the last line is as small as they are.
    cell = tf.cast(cell, tf.int64)
    flat, place = tf.unique(cell[:, 0] * columns + cell[:, 1])
    cells = tf.stack([flat // columns, flat % columns], axis=1)
    found = tf.gather_nd(scores, cells)
    repeated = tf.math.log(tf.math.unsorted_segment_sum(weight, place, tf.shape(flat)[0]))
    high, low = tf.maximum(found, repeated), tf.minimum(found, repeated)
    return tf.tensor_scatter_nd_update(scores, cells, high + tf.math.log1p(tf.exp(low - high)))
