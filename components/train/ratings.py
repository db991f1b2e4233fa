"""The scale of a log's ratings: what models of ratings start from and are cut to."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from components.errors import InputError
from components.train.interactions import Interactions


class RatingScale(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """Mean, lowest and highest rating of the train split, a part of the saved model."""

    def __init__(self) -> None:
        """Make the three numbers; `fit` gives them their values."""
        super().__init__()
        self.mean, self.low, self.high = (
            self.add_weight((), initializer="zeros", trainable=False, name=name)
            for name in ("mean", "low", "high")
        )
        self.built = True

    def fit(self, shards: Iterable[Interactions]) -> int:
        """Take the scale of the train split; return the number of its ratings.

        Raises:
            InputError: If no event has a rating.
        """
        count, total, low, high = 0, 0.0, np.inf, -np.inf
        for events in shards:
            rating = np.zeros(0, np.float32) if events.rating is None else events.rating
            rating = rating[np.isfinite(rating)]
            count, total = count + len(rating), total + float(rating.sum(dtype=np.float64))
            low, high = rating.min(initial=low), rating.max(initial=high)
        if not count:
            raise InputError("events of the train split", "no rating", "a column rating with some")
        self.mean.assign(total / count)
        self.low.assign(low)
        self.high.assign(high)
        return count

    def cut(self, scores: tf.Tensor) -> tf.Tensor:
        """Return scores cut to the scale: nobody rates lower or higher."""
        return tf.clip_by_value(scores, self.low.value, self.high.value)
