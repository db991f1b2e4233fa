"""SASRec: self-attention over the events of a user.

Task: what does this user take next, given what they took before and in which order; the user's id
is not read.

Shapes: B sequences, T ≤ `history_length` events, d = `dimension`. x_t = √d E[item t] + P[events to
the last one], [B, T, d], passes `blocks` blocks,

    x ← x + Attention(LN(x)),   x ← x + W₂ gelu(W₁ LN(x)),

where attention has `heads` heads and an event attends to itself and what came before; h = LN(x).
Dropout is applied to x and to what each part adds. Score and loss: `components/train/sequences.py`.

Model: Kang & McAuley, "Self-Attentive Sequential Recommendation" (ICDM 2018), §III, with
gelu for its ReLU. Its loss, binary cross-entropy with one sampled negative, makes the model
overconfident (Petrov & Macdonald, "gSASRec", RecSys 2023): it is replaced by a softmax over many.
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from components.study.space import Choices, Range, Space
from components.train.items import ItemTable
from components.train.noise import Noise, hide
from components.train.sequences import SequenceHyperparameters, SequenceModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class SasrecHyperparameters(SequenceHyperparameters):
    """Settings of the self-attention.

    Attributes:
        blocks: Self-attention blocks, one on the other.
        heads: Attention heads of a block.
    """

    blocks: int = 2
    heads: int = 2

    search_space: ClassVar[Space] = {
        "learning_rate": Range(0.0003, 0.01, log=True),
        "dimension": Range(32, 128, log=True),
        "dropout": Range(0.0, 0.6),
        "batch_events": Range(512, 8192, log=True),
        "blocks": Choices((1, 2, 3)),
        "heads": Choices((1, 2, 4)),
    }


class Block(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """Attention, then a network for each position; each is added to what it reads."""

    def __init__(self, dimension: int, *, heads: int, dropout: float) -> None:
        """Make the layers."""
        super().__init__()
        self.rate = dropout
        self.attention = keras.layers.MultiHeadAttention(heads, max(dimension // heads, 1))
        self.inner = keras.layers.Dense(dimension, activation="gelu")
        self.outer = keras.layers.Dense(dimension)
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        shape = (None, None, dimension)
        self.attention.build(shape, shape)
        for layer in (self.inner, self.outer, *self.norms):
            layer.build(shape)
        self.built = True

    def call(self, x: tf.Tensor, there: tf.Tensor, noises: list[Noise | None]) -> tf.Tensor:
        """Return the block's output, float32 [B, T, d].

        Args:
            x: Its input, float32 [B, T, d].
            there: False where there is padding, bool [B, T].
            noises: Noise of the three dropouts, or None each.
        """
        normal = self.norms[0](x)
        mask = there[:, tf.newaxis, :]
        seen = self.attention(normal, normal, attention_mask=mask, use_causal_mask=True)
        x += hide(seen, rate=self.rate, noise=noises[0])
        inner = hide(self.inner(self.norms[1](x)), rate=self.rate, noise=noises[1])
        return x + hide(self.outer(inner), rate=self.rate, noise=noises[2])


class Sasrec(SequenceModel):
    """See the file's docstring."""

    settings: SasrecHyperparameters

    def __init__(self, items: ItemTable, settings: SasrecHyperparameters, *, seed: int) -> None:
        """Make the variables.

        Args:
            items: Item table.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items, settings, seed=seed)
        d = settings.dimension
        random = keras.initializers.RandomNormal(stddev=0.05, seed=seed + 1)
        self.position = self.add_weight(
            (settings.history_length, d), initializer=random, name="position"
        )
        self.blocks = [
            Block(d, heads=settings.heads, dropout=settings.dropout) for _ in range(settings.blocks)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.norm.build((None, None, d))
        self.built = True

    def encode(self, events: tf.Tensor, there: tf.Tensor, *, noise: Noise | None) -> tf.Tensor:
        """See `SequenceModel.encode`."""
        count = 1 + 3 * len(self.blocks)
        noises = noise.split(count) if noise else [None] * count
        # Counted from the last event, so that a sequence is read alike however it is padded.
        position = tf.cast(self.position.value[-tf.shape(events)[1] :], events.dtype)
        x = events * self.settings.dimension**0.5 + position
        x = hide(x, rate=self.settings.dropout, noise=noises[0])
        for number, block in enumerate(self.blocks):
            x = block(x, there, noises[1 + 3 * number : 4 + 3 * number])
        return self.norm(x)
