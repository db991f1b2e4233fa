"""The eval split, for a sample of users: NDCG@10 with every item ranked, and RMSE of ratings."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.ranking import top_k
from components.train.event_log import EventLog
from components.train.interactions import (
    Baskets,
    Int32,
    Interactions,
    cut_baskets,
    histories,
    select,
)
from components.train.retrieval import Retrieval

Float32 = npt.NDArray[np.float32]

_QUERIES_AT_ONCE = 64
CUTOFF = 10


@dataclasses.dataclass(frozen=True)
class Questions:
    """One query per user, asked at the start of the eval split.

    Attributes:
        user: `user_id`, [queries].
        history: Item rows before the split, [queries, L]; −1 is padding.
        answers: The different items each user takes in the split, [queries] arrays.
        rated: Item rows each user rates in the split, [queries] arrays; none without ratings.
        ratings: Those ratings, [queries] arrays.
    """

    user: Int32
    history: Int32
    answers: list[Int32]
    rated: list[Int32]
    ratings: list[Float32]

    def __len__(self) -> int:
        """Number of (user, item) pairs that are ranked."""
        return sum(len(items) for items in self.answers)


def make_questions(log: EventLog, *, users: int, history_length: int, seed: int) -> Questions:
    """Draw users with events after the train split and ask for these from the events before.

    Args:
        log: Train and eval split.
        users: Most users drawn.
        history_length: Most events of history.
        seed: Seed of the draw.
    """
    since_us = log.train_until_us + 1
    asked = [_first_baskets(log.both(shard), since_us) for shard in range(len(log))]
    ends = np.cumsum([len(first) for first in asked])
    drawn = np.sort(np.random.default_rng(seed).permutation(ends[-1])[:users])
    length = max(history_length, 1)
    user, history = [np.zeros(0, np.int32)], [np.zeros((0, length), np.int32)]
    answers, rated, ratings = [], [], []
    for shard, (first, end) in enumerate(zip(asked, ends, strict=True)):
        events = log.both(shard)
        own = select(first, drawn[(drawn >= end - len(first)) & (drawn < end)] - (end - len(first)))
        user.append(own.user)
        history.append(histories(events, own, length=length))
        last = np.searchsorted(events.owner, events.owner[own.start], side="right")
        rating = np.full(len(events), np.nan, np.float32)
        rating = rating if events.rating is None else events.rating
        for window in map(slice, own.start, last):
            known = np.isfinite(rating[window])
            answers.append(np.unique(events.item[window]))
            rated.append(events.item[window][known])
            ratings.append(rating[window][known])
    return Questions(np.concatenate(user), np.concatenate(history), answers, rated, ratings)


def _first_baskets(events: Interactions, since_us: int) -> Baskets:
    baskets = cut_baskets(events, since_us=since_us)
    return select(baskets, np.unique(events.owner[baskets.start], return_index=True)[1])


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good a model is on the questions.

    Attributes:
        ndcg: The mean over all (user, item) pairs of 1/log₂(rank + 1), 0 beyond rank 10. One right
            answer per pair, so the ideal DCG is 1. NaN without any pair.
        rmse: √ mean (r − r̂)² over the rated events; NaN for a model that predicts no ratings.
    """

    ndcg: float
    rmse: float


class Validator:
    """Measures a model on the questions; traced once, called every epoch."""

    def __init__(self, model: Retrieval, questions: Questions) -> None:
        """Keep the model and the questions."""
        self._questions = questions
        self._model = model
        self._rates = model.predicts == "rating"
        self._ask = tf.function(self._answers, reduce_retracing=True)

    def _answers(
        self,
        user: tf.Tensor,
        history: tf.Tensor,
        pairs: tf.Tensor,
        vectors: tf.Tensor,
        bias: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the best items of each query, [B, 10], and what is predicted of pairs, [pairs]."""
        scores = self._model.score_all(user, history, vectors, bias)
        return top_k(scores, CUTOFF)[1], self._model.prediction(tf.gather_nd(scores, pairs))

    def measure(self) -> Quality:
        """Ask the questions of the model as it is now."""
        asked = self._questions
        if len(asked) == 0:
            return Quality(math.nan, math.nan)
        vectors, bias = self._model.index()
        total, errors = 0.0, []
        for start in range(0, len(asked.user), _QUERIES_AT_ONCE):
            chunk = slice(start, start + _QUERIES_AT_ONCE)
            rated = asked.rated[chunk] if self._rates else []
            query = np.repeat(np.arange(len(rated)), [len(items) for items in rated])
            item = np.concatenate([np.zeros(0, np.int32), *rated])
            pairs = np.stack([query, item], axis=1).astype(np.int32)
            best, predicted = self._ask(
                asked.user[chunk], asked.history[chunk], pairs, vectors, bias
            )
            total += sum(map(gain, best.numpy(), asked.answers[chunk]))
            if len(pairs):
                errors.append(np.concatenate(asked.ratings[chunk]) - predicted.numpy())
        rmse = math.sqrt(np.square(np.concatenate(errors)).mean()) if errors else math.nan
        return Quality(total / len(asked), rmse)


def gain(best: Int32, answers: Int32) -> float:
    """Return Σ 1/log₂(rank + 1) over the answers that are among the best, best first."""
    rank: npt.NDArray[np.int64] = np.flatnonzero(np.isin(best, answers)) + 1
    return float((1.0 / np.log2(rank + 1)).sum())
