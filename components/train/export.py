"""The SavedModel: transform graph, index and model behind its signatures."""

from pathlib import Path

import tensorflow as tf

from components.ranking import rank_of, top_k
from components.train.explanation import explain
from components.train.items import ItemTable
from components.train.retrieval import Retrieval
from components.train.tables import FeatureGraph

_ROWS_AT_ONCE = 256


class Recommender(tf.Module):  # type: ignore[misc]  # tensorflow ships no types
    """A trained model that is asked with strings.

    The items' vectors are computed once, here; a request costs one product with the index.
    """

    def __init__(self, model: Retrieval, items: ItemTable, *, graph: FeatureGraph) -> None:
        """Freeze the index.

        Args:
            model: Trained model.
            items: Its item table.
            graph: The transform graph it was trained on.
        """
        super().__init__()
        self.graph, self.model = graph.layer, model
        vectors, bias = model.index()
        self.vectors = tf.Variable(vectors, trainable=False, name="index_vectors")
        self.bias = tf.Variable(bias, trainable=False, name="index_bias")
        self.names = tf.constant(items.names, tf.string)
        self.vocabulary = items.vocabulary
        # "" is padding, and keeps the table from being empty, which TensorFlow refuses.
        never_bought = tf.lookup.KeyValueTensorInitializer(
            tf.constant([b"", *items.names[items.vocabulary :]], tf.string),
            tf.constant([-1, *range(items.vocabulary, len(items))], tf.int64),
        )
        self.never_bought = tf.lookup.StaticHashTable(never_bought, default_value=-1)

    def rows(self, item: tf.Tensor) -> tf.Tensor:
        """Return the index row of each item, int32, −1 for "" and unknown; any shape."""
        flat = tf.reshape(item, [-1])
        ids = self.graph({"item": flat})["item_id"]
        rows = tf.where(ids < self.vocabulary, ids, self.never_bought.lookup(flat))
        return tf.cast(tf.reshape(rows, tf.shape(item)), tf.int32)

    def scores(self, user: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """Return the score of every item, float32 [B, n]."""
        user_id = self.graph({"user": user})["user_id"]
        return self.model.score_all(user_id, self.rows(history), self.vectors, self.bias)

    def pair_scores(self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Return the score of one item per query, float32 [B]; an unknown item gets the lowest."""
        rows, user_id = self.rows(item), self.graph({"user": user})["user_id"]
        own = self.model.score_pairs(
            user_id, self.rows(history), tf.maximum(rows, 0), self.vectors, self.bias
        )
        lowest = tf.cond(
            tf.reduce_all(rows >= 0),
            lambda: own,
            lambda: tf.reduce_min(self.scores(user, history), axis=1),
        )
        return tf.where(rows >= 0, own, lowest)

    @tf.function(  # type: ignore[untyped-decorator]  # tensorflow ships no types
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user"),
            tf.TensorSpec([None, None], tf.string, name="history"),
            tf.TensorSpec([None], tf.int64, name="k"),
        ]
    )
    def recommend(self, user: tf.Tensor, history: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return each query's k best items, exactly, best first.

        Args:
            user: User ids, string [B].
            history: Item ids, string [B, L], most recent last; "" is padding.
            k: How many, int64 [B].

        Returns:
            `items` string [B, max k] and `scores` float32 [B, max k]; beyond a row's own k they
            are "" and −inf.
        """
        k = tf.clip_by_value(k, 0, len(self.names))
        most = tf.cast(tf.reduce_max(tf.concat([k, [0]], axis=0)), tf.int32)
        scores, columns = top_k(self.scores(user, history), most)
        asked = tf.range(most, dtype=tf.int32)[tf.newaxis] < tf.cast(k, tf.int32)[:, tf.newaxis]
        items = tf.where(asked, tf.gather(self.names, columns), "")
        return {"items": items, "scores": tf.where(asked, scores, float("-inf"))}

    @tf.function(  # type: ignore[untyped-decorator]  # tensorflow ships no types
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user"),
            tf.TensorSpec([None, None], tf.string, name="history"),
            tf.TensorSpec([None], tf.string, name="item"),
        ]
    )
    def score(self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `scores` float32 [B] of one item per query; an unknown item gets the lowest."""
        return {"scores": self.pair_scores(user, history, item)}

    @tf.function(  # type: ignore[untyped-decorator]  # tensorflow ships no types
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user"),
            tf.TensorSpec([None, None], tf.string, name="history"),
            tf.TensorSpec([None], tf.string, name="item"),
        ]
    )
    def explain(self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what moved the score of one item per query; see `explanation`."""
        found = explain(self.pair_scores, user, history, item)
        return found | self._features(user, history, item, found["score"])

    def _features(
        self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor, score: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return each feature of the items and what the score has of it; see `explanation`."""
        names, queries = self.model.features, tf.shape(user)[0]
        if not names:
            return {}
        rows, user_id = self.rows(item), self.graph({"user": user})["user_id"]
        known, history_rows = tf.maximum(rows, 0), self.rows(history)
        bias = tf.gather(self.bias, known)
        changes = [
            score
            - self.model.score_own(
                user_id, history_rows, known, self.model.vectors_without(known, name), bias
            )
            for name in names
        ]
        there = (rows >= 0)[:, tf.newaxis]
        return {
            "features": tf.tile(tf.constant([names]), [queries, 1]),
            "feature_changes": tf.where(there, tf.stack(changes, axis=1), 0.0),
        }

    @tf.function(  # type: ignore[untyped-decorator]  # tensorflow ships no types
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user"),
            tf.TensorSpec([None, None], tf.string, name="history"),
            tf.TensorSpec([None], tf.string, name="item"),
        ]
    )
    def predict(self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what the model predicts of each pair, float32 [B]; see `Retrieval.predicts`."""
        scores = self.pair_scores(user, history, item)
        return {self.model.predicts: self.model.prediction(scores)}

    @tf.function(  # type: ignore[untyped-decorator]  # tensorflow ships no types
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user"),
            tf.TensorSpec([None, None], tf.string, name="history"),
            tf.TensorSpec([None], tf.string, name="item"),
        ]
    )
    def evaluate(
        self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return `rank` float32 [B] of one item per query among all; see `rank_of`.

        Rows are ranked 256 at a time, which bounds the memory of a batch of any size.
        """
        count = tf.shape(user)[0]
        chunks = tf.maximum((count + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE, 1)
        ranks = tf.TensorArray(tf.float32, size=chunks, infer_shape=False, element_shape=[None])
        for chunk in tf.range(chunks):
            start, end = chunk * _ROWS_AT_ONCE, (chunk + 1) * _ROWS_AT_ONCE
            scores = self.scores(user[start:end], history[start:end])
            ranks = ranks.write(chunk, rank_of(scores, self.rows(item[start:end])))
        return {"rank": ranks.concat()}


def export_model(
    model: Retrieval,
    items: ItemTable,
    *,
    graph: FeatureGraph,
    model_dir: Path,
    explained: bool = False,
) -> None:
    """Write the SavedModel with signatures `recommend`, `serving_default` and `evaluate`.

    A model that predicts something has a fourth one, named after that: `rating` or `click`.

    Args:
        model: Trained model.
        items: Its item table.
        graph: The transform graph it was trained on.
        model_dir: Folder to write.
        explained: Whether it also has `explain`.
    """
    recommender = Recommender(model, items, graph=graph)
    signatures = {
        "recommend": recommender.recommend,
        "serving_default": recommender.score,
        "evaluate": recommender.evaluate,
    }
    if explained:
        signatures["explain"] = recommender.explain
    if model.predicts:
        signatures[model.predicts] = recommender.predict
    tf.saved_model.save(recommender, str(model_dir), signatures=signatures)
