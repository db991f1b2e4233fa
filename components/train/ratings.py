"""The scale of a log's ratings: what models of ratings start from and are cut to."""

import keras
import numpy as np
import numpy.typing as npt
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

    def fit(self, events: Interactions) -> npt.NDArray[np.float32]:
        """Take the scale of the train split; return its ratings, [ratings].

        Raises:
            InputError: If no event has a rating.
        """
        rating = np.zeros(0, np.float32) if events.rating is None else events.rating
        rating = rating[np.isfinite(rating)]
        if not len(rating):
            raise InputError("events of the train split", "no rating", "a column rating with some")
        self.mean.assign(rating.mean(dtype=np.float64))
        self.low.assign(rating.min())
        self.high.assign(rating.max())
        return rating

    def cut(self, scores: tf.Tensor) -> tf.Tensor:
        """Return scores cut to the scale: nobody rates lower or higher."""
        return tf.clip_by_value(scores, self.low.value, self.high.value)
