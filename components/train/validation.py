"""NDCG@10 on the eval split: every item ranked, for a sample of users."""

import dataclasses

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.ranking import top_k
from components.train.interactions import (
    Baskets,
    Int32,
    Interactions,
    cut_baskets,
    histories,
    select,
)
from components.train.retrieval import Retrieval

_QUERIES_AT_ONCE = 64
CUTOFF = 10


@dataclasses.dataclass(frozen=True)
class Questions:
    """One query per user, asked at the start of the eval split.

    Attributes:
        user: `user_id`, [queries].
        history: Item rows before the split, [queries, L]; −1 is padding.
        answers: The different items each user takes in the split, [queries] arrays.
    """

    user: Int32
    history: Int32
    answers: list[Int32]

    def __len__(self) -> int:
        """Number of (user, item) pairs that are ranked."""
        return sum(len(items) for items in self.answers)


def make_questions(
    events: Interactions, *, since_us: int, users: int, history_length: int, seed: int
) -> Questions:
    """Draw users with events at or after a time and ask for these from the events before it.

    Args:
        events: Train and eval split together.
        since_us: First moment of the eval split.
        users: Most users drawn.
        history_length: Most events of history.
        seed: Seed of the draw.
    """
    baskets = cut_baskets(events, since_us=since_us)
    owner = events.owner[baskets.start]
    first: Baskets = select(baskets, np.unique(owner, return_index=True)[1])
    drawn = np.random.default_rng(seed).permutation(len(first))[:users]
    first = select(first, np.sort(drawn))
    ends = np.searchsorted(events.owner, events.owner[first.start], side="right")
    return Questions(
        user=first.user,
        history=histories(events, first, length=max(history_length, 1)),
        answers=[
            np.unique(events.item[start:end]) for start, end in zip(first.start, ends, strict=True)
        ],
    )


class Validator:
    """Measures a model on the questions; traced once, called every epoch."""

    def __init__(self, model: Retrieval, questions: Questions) -> None:
        """Keep the model and the questions."""
        self._questions = questions
        self._model = model
        self._best = tf.function(self._best_rows, reduce_retracing=True)

    def _best_rows(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        return top_k(self._model.score_all(user, history, vectors, bias), CUTOFF)[1]

    def ndcg(self) -> float:
        """Return the mean over all (user, item) pairs of 1/log₂(rank + 1), 0 beyond rank 10.

        One right answer per pair, so the ideal DCG is 1. NaN without any pair.
        """
        asked = self._questions
        if len(asked) == 0:
            return float("nan")
        vectors, bias = self._model.index()
        total = 0.0
        for start in range(0, len(asked.user), _QUERIES_AT_ONCE):
            chunk = slice(start, start + _QUERIES_AT_ONCE)
            best = self._best(asked.user[chunk], asked.history[chunk], vectors, bias).numpy()
            total += sum(map(gain, best, asked.answers[chunk]))
        return total / len(asked)


def gain(best: Int32, answers: Int32) -> float:
    """Return Σ 1/log₂(rank + 1) over the answers that are among the best, best first."""
    rank: npt.NDArray[np.int64] = np.flatnonzero(np.isin(best, answers)) + 1
    return float((1.0 / np.log2(rank + 1)).sum())
