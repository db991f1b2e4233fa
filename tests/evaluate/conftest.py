"""A shop of a few items, and real SavedModels whose ranks are known because they were written."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

ITEMS = ["a", "b", "c", "d", "e"]


def write_events(folder: Path, splits: Mapping[str, Sequence[tuple[str, str]]]) -> Path:
    """Write (user, item) pairs by split, one event per minute in the order given."""
    clock = dt.datetime(2024, 1, 1)
    for split in ("train", "eval", "test"):
        rows = []
        for user, item in splits.get(split, ()):
            clock += dt.timedelta(minutes=1)
            rows.append({"user": user, "item": item, "time": clock})
        schema = {"user": pl.String, "item": pl.String, "time": pl.Datetime("us")}
        (folder / split).mkdir(parents=True)
        pl.DataFrame(rows, schema=schema).write_parquet(folder / split / "part-0.parquet")
    return folder


def write_catalogue(folder: Path, items: Sequence[str]) -> Path:
    folder.mkdir(parents=True)
    frame = pl.DataFrame(
        {
            "item": items,
            "title": [f"Item {item.upper()}" for item in items],
            "category": ["first" if item < "c" else "second" for item in items],
        }
    )
    frame.write_parquet(folder / "part-0.parquet")
    return folder


def save_model(folder: Path, scores: Mapping[str, float], *, predicts: str = "") -> Path:
    """Save a model that gives every user the same score for an item, with all signatures.

    One that predicts something has a signature of that name, which answers with the scores.
    """
    import tensorflow as tf

    from components.ranking import rank_of, top_k

    text = tf.TensorSpec([None], tf.string)
    history_spec = tf.TensorSpec([None, None], tf.string)

    class Fixed(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = tf.constant(list(scores))
            self.scores = tf.constant(list(scores.values()), tf.float32)
            self.index = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    self.items, tf.range(len(scores), dtype=tf.int64)
                ),
                -1,
            )

        def rows(self, user: tf.Tensor) -> tf.Tensor:
            return tf.tile(self.scores[tf.newaxis], [tf.shape(user)[0], 1])

        @tf.function(input_signature=[text, history_spec, text])
        def evaluate(self, user, history, item):
            return {"rank": rank_of(self.rows(user), self.index.lookup(item))}

        @tf.function(input_signature=[text, history_spec, text])
        def serve(self, user, history, item):
            column = tf.maximum(self.index.lookup(item), 0)
            return {"scores": tf.gather(self.scores, column)}

        @tf.function(input_signature=[text, history_spec, tf.TensorSpec([None], tf.int64)])
        def recommend(self, user, history, k):
            best, columns = top_k(self.rows(user), tf.cast(tf.reduce_max(k), tf.int32))
            return {"items": tf.gather(self.items, columns), "scores": best}

    model = Fixed()
    signatures = {
        "serving_default": model.serve,
        "recommend": model.recommend,
        "evaluate": model.evaluate,
    }
    if predicts:
        signatures[predicts] = model.serve
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """20 households; in train all buy "n03" most, in the test window h00…h19 buy one item each.

    Items n00 … n19. The good model ranks n00 first, n01 second, …
    """
    root = tmp_path_factory.mktemp("shop")
    items = [f"n{n:02}" for n in range(20)]
    users = [f"h{n:02}" for n in range(20)]
    train = [(user, item) for user in users for item in ("n15", "n15", "n16")]
    train += [("h00", "n17")]
    # Two thirds of the households then buy n00, the rest n02 or n10: ranks 1, 3 and 11.
    test = [(user, ("n00", "n02", "n10")[n % 3]) for n, user in enumerate(users[:18])]
    write_events(root / "events", {"train": train, "eval": [("h01", "n16")], "test": test})
    write_catalogue(root / "catalogue", items)
    save_model(root / "good", {item: float(-n) for n, item in enumerate(items)})
    save_model(root / "broken", {item: float(n) for n, item in enumerate(items)})
    return {name: root / name for name in ("events", "catalogue", "good", "broken")}
