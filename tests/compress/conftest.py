"""A real model of every kind of read: rows, a product with all rows, a sparse product, a loop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

ITEMS, WIDTH = 300, 24


def save_model(folder: Path, *, seed: int = 1) -> Path:
    import tensorflow as tf

    random = np.random.default_rng(seed)
    text, many = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)

    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            names = [f"i{n}" for n in range(ITEMS)]
            self.names = tf.constant(names)
            rows = tf.lookup.KeyValueTensorInitializer(self.names, tf.range(ITEMS, dtype=tf.int64))
            self.place = tf.lookup.StaticHashTable(rows, -1)
            shape = (ITEMS, WIDTH)
            self.read = tf.Variable(random.normal(size=shape), dtype=tf.float32)
            self.found = tf.Variable(random.normal(size=shape), dtype=tf.float32)
            self.weights = tf.Variable(random.normal(size=(ITEMS, ITEMS)), dtype=tf.float32)
            self.bias = tf.Variable(random.normal(size=ITEMS), dtype=tf.float32)

        def scores(self, history: tf.Tensor) -> tf.Tensor:
            place = self.place.lookup(history)
            real = tf.cast(place >= 0, tf.float32)[:, :, tf.newaxis]
            query = tf.reduce_sum(tf.gather(self.read, tf.maximum(place, 0)) * real, axis=1)
            there = tf.where(place >= 0)
            cell = tf.stack([there[:, 0], tf.gather_nd(place, there)], axis=1)
            shape = tf.stack([tf.shape(history, tf.int64)[0], ITEMS])
            taken = tf.SparseTensor(cell, tf.ones([tf.shape(cell)[0]]), shape)
            scores = tf.matmul(query, tf.transpose(self.found)) + self.bias
            return scores + tf.sparse.sparse_dense_matmul(taken, self.weights)

        @tf.function(input_signature=[text, many, tf.TensorSpec([None], tf.int64)])  # type: ignore
        def recommend(self, user: Any, history: Any, k: Any) -> dict[str, Any]:
            most = tf.cast(tf.reduce_max(tf.minimum(k, ITEMS)), tf.int32)
            best = tf.math.top_k(self.scores(history), most)
            return {"items": tf.gather(self.names, best.indices), "scores": best.values}

        @tf.function(input_signature=[text, many, text])  # type: ignore
        def score(self, user: Any, history: Any, item: Any) -> dict[str, Any]:
            place = tf.maximum(self.place.lookup(item), 0)
            return {"scores": tf.gather(self.scores(history), place, batch_dims=1)}

        @tf.function(input_signature=[text, many, text])  # type: ignore
        def evaluate(self, user: Any, history: Any, item: Any) -> dict[str, Any]:
            # One row at a time, so that the tables are read inside a loop.
            ranks = tf.TensorArray(tf.float32, tf.shape(user)[0])
            for row in tf.range(tf.shape(user)[0]):
                scores = self.scores(history[row : row + 1])[0]
                own = scores[tf.maximum(self.place.lookup(item[row]), 0)]
                rank = 1.0 + tf.reduce_sum(tf.cast(scores > own, tf.float32))
                ranks = ranks.write(row, rank)
            return {"rank": ranks.stack()}

    model = Model()
    signatures = {
        "recommend": model.recommend,
        "serving_default": model.score,
        "evaluate": model.evaluate,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model")
