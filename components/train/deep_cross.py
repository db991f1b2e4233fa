"""Deep & cross network over pairs of a query and an item, with its first layer cut in two.

With x₀ = [x_u; x_i], of D numbers, the features of a query and of an item one after the other:

* Cross layers, low-rank:  x_{l+1} = x₀ ⊙ (U_l V_lᵀ x_l + b_l) + x_l,  U_l, V_l [D, r].
* MLP:  h = relu(W₂ relu(W₁ x₀ + c₁) + c₂).
* Out:  w · x_L + v · h, one number; the two parts stand side by side.

Wang et al., "DCN V2: Improved Deep & Cross Network" (WWW 2021), eq. 1 and 2, in parallel.

W₁ x₀ = W₁ᵘ x_u + W₁ⁱ x_i, and V₀ᵀ x₀ in the same way: what a query and an item bring to the first
layers is computed once each (`parts`), and a pair costs a sum there. That is exact.
"""

from typing import Any

import keras
import tensorflow as tf

# About 20 MB of features, and as much of activations.
_PAIRS_AT_ONCE = 16_384


class DeepCross(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """See the file's docstring."""

    def __init__(
        self, query: int, item: int, *, layers: int, rank: int, hidden: tuple[int, int], seed: int
    ) -> None:
        """Make the variables.

        Args:
            query: Numbers of x_u.
            item: Numbers of x_i.
            layers: Cross layers, L ≥ 1.
            rank: r.
            hidden: Units of the two hidden layers.
            seed: Seed of the initial values.
        """
        super().__init__()
        width, self.rank, self.hidden = query + item, rank, hidden
        random = keras.initializers.GlorotUniform(seed=seed)

        def matrix(rows: int, columns: int, name: str) -> keras.Variable:
            return self.add_weight((rows, columns), initializer=random, name=name)

        def bias(length: int, name: str) -> keras.Variable:
            return self.add_weight((length,), initializer="zeros", name=name)

        # The first layers of the MLP and of the crosses, side by side: [W₁ᵀ, V₀].
        self.first_query = matrix(query, hidden[0] + rank, "first_query")
        self.first_item = matrix(item, hidden[0] + rank, "first_item")
        self.down = [matrix(width, rank, f"cross_v{n}") for n in range(1, layers)]
        self.up = [matrix(rank, width, f"cross_u{n}") for n in range(layers)]
        self.cross_bias = [bias(width, f"cross_b{n}") for n in range(layers)]
        self.second = matrix(hidden[0], hidden[1], "second")
        self.hidden_bias = [bias(size, f"hidden_b{n}") for n, size in enumerate(hidden)]
        # Zero: at first a pair is worth what its bias says.
        self.out_cross = self.add_weight((width, 1), initializer="zeros", name="out_cross")
        self.out_deep = self.add_weight((hidden[1], 1), initializer="zeros", name="out_deep")
        self.built = True

    def parts(self, features: tf.Tensor, kernel: keras.Variable) -> tf.Tensor:
        """Return features beside what they bring to the first layers, [rows, features + h₁ + r].

        Args:
            features: x_u of queries or x_i of items, float32 [rows, features].
            kernel: `first_query` or `first_item`.
        """
        return tf.concat([features, tf.matmul(features, kernel.value)], axis=1)

    def call(self, query: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Return the number of each pair, float32 [pairs], from the `parts` of its two sides."""
        sizes = [self.hidden[0], self.rank]
        x_query, deep_query, cross_query = tf.split(query, [query.shape[1] - sum(sizes), *sizes], 1)
        x_item, deep_item, cross_item = tf.split(item, [item.shape[1] - sum(sizes), *sizes], 1)
        start = tf.concat([x_query, x_item], axis=1)
        x, down = start, cross_query + cross_item
        for layer, (up, bias) in enumerate(zip(self.up, self.cross_bias, strict=True)):
            if layer:
                down = tf.matmul(x, self.down[layer - 1].value)
            x += start * (tf.matmul(down, up.value) + bias.value)
        deep = tf.nn.relu(deep_query + deep_item + self.hidden_bias[0].value)
        deep = tf.nn.relu(tf.matmul(deep, self.second.value) + self.hidden_bias[1].value)
        out = tf.matmul(x, self.out_cross.value) + tf.matmul(deep, self.out_deep.value)
        return tf.squeeze(out, axis=1)

    def score_all(self, query: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Return the number of every query with every item, float32 [queries, items].

        Some items at a time, so that the layers' memory grows neither with queries nor with items.
        """
        queries, items = tf.shape(query)[0], tf.shape(item)[0]
        step = tf.maximum(_PAIRS_AT_ONCE // tf.maximum(queries, 1), 1)
        chunks = (items + step - 1) // step
        blocks = tf.TensorArray(tf.float32, chunks, infer_shape=False, element_shape=[None, None])

        def score_chunk(chunk: tf.Tensor, blocks: tf.TensorArray) -> tuple[Any, Any]:
            some = item[chunk * step : (chunk + 1) * step]
            count = tf.shape(some)[0]
            pairs = self(tf.tile(query, [count, 1]), tf.repeat(some, queries, axis=0))
            return chunk + 1, blocks.write(chunk, tf.reshape(pairs, [count, queries]))

        _, blocks = tf.while_loop(
            lambda chunk, blocks: chunk < chunks, score_chunk, [0, blocks], parallel_iterations=1
        )
        return tf.transpose(blocks.concat())

    def squares(self) -> tf.Tensor:
        """Return the sum of the squares of all matrices, a scalar."""
        matrices = [v.value for v in self.trainable_variables if len(v.shape) == 2]
        return tf.add_n([tf.reduce_sum(tf.square(matrix)) for matrix in matrices])
