"""GRU4Rec: a recurrent network over the events of a user.

Task: what does this user take next, given what they took before and in which order; the user's id
is not read.

Shapes: B sequences, T ≤ `history_length` events, d = `dimension`. A gated recurrent unit of `units`
numbers reads E[item t], [B, T, d]; its state after each event, [B, T, units], is brought to d
numbers by a linear layer: h. Dropout is applied to both. Score and loss:
`components/train/sequences.py`.

Model: Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks" (ICLR 2016),
§3.1. As there, the other items of a batch are the negatives; the loss is a softmax over them
instead of BPR or TOP1.
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from components.study.space import Range, Space
from components.train.items import ItemTable
from components.train.noise import Noise, hide
from components.train.sequences import SequenceHyperparameters, SequenceModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gru4recHyperparameters(SequenceHyperparameters):
    """Settings of the recurrent network.

    Attributes:
        units: Length of the recurrent state.
    """

    units: int = 128

    search_space: ClassVar[Space] = {
        "learning_rate": Range(0.0003, 0.01, log=True),
        "dimension": Range(32, 128, log=True),
        "dropout": Range(0.0, 0.6),
        "batch_events": Range(512, 8192, log=True),
        "units": Range(32, 256, log=True),
    }


class Gru4rec(SequenceModel):
    """See the file's docstring."""

    settings: Gru4recHyperparameters

    def __init__(self, items: ItemTable, settings: Gru4recHyperparameters, *, seed: int) -> None:
        """Make the variables.

        Args:
            items: Item table.
            settings: Hyper-parameters.
            seed: Seed of the initial values.
        """
        super().__init__(items, settings, seed=seed)
        # cuDNN's kernel refuses padding before the first event, and a model exported with it from a
        # GPU would not run on a CPU.
        self.gru = keras.layers.GRU(settings.units, return_sequences=True, use_cudnn=False)
        self.gru.build((None, None, settings.dimension))
        self.project = keras.layers.Dense(settings.dimension)
        self.project.build((None, None, settings.units))
        self.built = True

    def encode(self, events: tf.Tensor, there: tf.Tensor, *, noise: Noise | None) -> tf.Tensor:
        """See `SequenceModel.encode`."""
        noises = noise.split(2) if noise else [None] * 2
        x = hide(events, rate=self.settings.dropout, noise=noises[0])
        state = hide(self.gru(x, mask=there), rate=self.settings.dropout, noise=noises[1])
        return self.project(state)
