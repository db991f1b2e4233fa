"""What the candidate recommends: catalogue coverage, and lists a person can judge."""

import dataclasses
from pathlib import Path

import polars as pl
import tensorflow as tf

_USERS_AT_ONCE = 256
_ALL_ITEMS = 2**31 - 1  # clipped by the model to the number of items it indexes


@dataclasses.dataclass(frozen=True)
class Recommendations:
    """Top lists of the users of an evaluation.

    Attributes:
        frame: user and recommended (list of items, best first); one row per user.
        indexed_items: Items the model can recommend at all.
        coverage: Share of them that is in at least one of the lists.
    """

    frame: pl.DataFrame
    indexed_items: int
    coverage: float


def recommend(model_dir: Path, examples: pl.DataFrame, *, k: int) -> Recommendations:
    """Run the `recommend` signature for every user of the examples.

    Args:
        model_dir: SavedModel.
        examples: user and history, equal in all rows of a user.
        k: Length of the lists.
    """
    signature = tf.saved_model.load(str(model_dir)).signatures["recommend"]
    users = examples.select("user", "history").unique("user", maintain_order=True)
    lists: list[list[str]] = []
    for part in users.iter_slices(_USERS_AT_ONCE):
        items = signature(
            user=tf.constant(part["user"].to_list()),
            history=tf.constant(part["history"].to_list()),
            k=tf.fill([part.height], tf.constant(k, tf.int64)),
        )["items"].numpy()
        lists += [[item.decode() for item in row if item] for row in items]
    everything = signature(
        user=tf.constant([""]),
        history=tf.constant([[""]]),
        k=tf.constant([_ALL_ITEMS], tf.int64),
    )["items"].numpy()[0]
    indexed = sum(1 for item in everything if item)
    frame = pl.DataFrame({"user": users["user"], "recommended": lists})
    distinct = frame["recommended"].explode().drop_nulls().n_unique()
    return Recommendations(frame, indexed, distinct / indexed if indexed else float("nan"))
