"""The item table: one row per item that can be recommended, with its features as arrays."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from components.train.tables import (
    FeatureGraph,
    of_distinct,
    parquet_files,
    read_columns,
    stream_columns,
)

_MOST_TOKENS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemTable:
    """Every item of the vocabulary, then every other item of the catalogue.

    A row's number is the item's index in every array here, in the model's index and in the events:
    row = `item_id` for an item of the vocabulary.

    Attributes:
        names: Item ids as the shop writes them, bytes [n].
        vocabulary: Rows that are in the vocabulary; the rest was never bought in the train split,
            or too rarely for a vocabulary of that size.
        ids: `item_id` and `<categorical>_id` by feature, int32 [n] each.
        tokens: `<text>_tokens` by feature, int32 [n, T] each, −1 after the last token.
        numbers: z-scores, [n, numbers]: the catalogue's own, and the mean over an item's train
            events of those that only events have (a price paid); 0 when unknown.
        sizes: Number of different ids by feature, OOV buckets included.
        counts: Events of each item in the train split, [n].
    """

    names: npt.NDArray[np.object_]
    vocabulary: int
    ids: dict[str, npt.NDArray[np.int32]]
    tokens: dict[str, npt.NDArray[np.int32]]
    numbers: npt.NDArray[np.float32]
    sizes: dict[str, int]
    counts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.names)


def build_item_table(catalogue_dir: Path, train_dir: Path, *, graph: FeatureGraph) -> ItemTable:
    """Join vocabulary, catalogue and the train split's prices into the item table.

    Raises:
        InputError: If a file is missing or cannot be read.
    """
    columns = _columns(catalogue_dir)
    categorical = [n for n in graph.named("_id") if n not in ("user", "item") and n in columns]
    text = [name for name in graph.named("_tokens") if name in columns]
    numeric = [name for name in graph.named("_z") if name in columns]
    catalogue = read_columns(catalogue_dir, ["item", *categorical, *text, *numeric])
    catalogue = catalogue.set_column(0, "item", catalogue["item"].cast(pa.large_string()))

    known = pa.array(graph.entries("item"), pa.large_binary()).cast(pa.large_string())
    others = catalogue["item"].combine_chunks()
    others = pc.unique(others.filter(pc.invert(pc.is_in(others, value_set=known))).drop_null())
    names = pa.chunked_array([known, others])
    features = catalogue.take(pc.index_in(names, value_set=catalogue["item"].combine_chunks()))

    ids = {name: graph.encode(features[name], name) for name in categorical}
    ids["item"] = graph.encode(names, "item")
    rows = ItemRows(graph, others)
    counts, means = _of_events(train_dir, graph, rows, len(names), catalogue=numeric)
    numbers = [np.nan_to_num(graph.z_score(features[name], name)) for name in numeric] + means
    return ItemTable(
        names=np.array(names.cast(pa.large_binary()).to_pylist(), dtype=object),
        vocabulary=len(known),
        ids=ids,
        tokens={name: graph.tokens(features[name], name, _MOST_TOKENS) for name in text},
        numbers=np.stack(numbers, axis=1) if numbers else np.zeros((len(names), 0), np.float32),
        sizes={name: graph.size(name) for name in ["user", "item", *categorical, *text]},
        counts=counts,
    )


def _columns(folder: Path) -> set[str]:
    return set(pq.read_schema(parquet_files(folder)[0]).names)


class ItemRows:
    """Finds the rows of items by their names."""

    def __init__(self, graph: FeatureGraph, others: pa.Array) -> None:
        """Keep what rows are made of.

        Args:
            graph: The transform graph; its vocabulary has the first rows.
            others: Names of the items of all further rows, in order.
        """
        self._graph, self._others = graph, others.cast(pa.large_binary())

    def of(self, column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
        """Return the row of each item of a column, [rows]; −1 for one that is in no table."""
        return of_distinct(column, self._find)

    def _find(self, entries: pa.Array) -> npt.NDArray[np.int32]:
        rows = self._graph.encode(pa.chunked_array([entries]), "item")
        vocabulary = self._graph.vocabulary["item"]
        strange = rows >= vocabulary
        if strange.any():
            others = entries.filter(pa.array(strange)).cast(pa.large_binary())
            places = pc.index_in(others, value_set=self._others).cast(pa.int32())
            places = pc.add(places, vocabulary).fill_null(-1)
            rows[strange] = places.to_numpy(zero_copy_only=False)
        return rows


def _of_events(
    train_dir: Path, graph: FeatureGraph, rows_of: ItemRows, items: int, *, catalogue: list[str]
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float32]]]:
    """Return each item's train events, and its means of what only events have."""
    # A rating is a label. The mean of an item that was rated once would give it away.
    known = {*catalogue, "rating"}
    names = sorted((set(graph.named("_z")) - known) & _columns(train_dir))
    counts = np.zeros(items, np.int64)
    total, present = np.zeros((len(names), items)), np.zeros((len(names), items), np.int64)
    for events in stream_columns(train_dir, ["item", *names]):
        rows = rows_of.of(events["item"])
        counts += np.bincount(rows[rows >= 0], minlength=items)
        for place, name in enumerate(names):
            values = graph.z_score(events[name], name)
            there = np.isfinite(values) & (rows >= 0)
            total[place] += np.bincount(rows[there], values[there], minlength=items)
            present[place] += np.bincount(rows[there], minlength=items)
    return counts, list((total / np.maximum(present, 1)).astype(np.float32))


def mean_of_tokens(table: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Return the mean vector of each row's tokens, float32 [rows, d]; zero without any.

    Args:
        table: A vector for each token, float32 [tokens, d].
        tokens: Tokens, int32 [rows, T], −1 after the last.
    """
    there = tf.cast(tokens >= 0, tf.float32)[:, :, tf.newaxis]
    total = tf.reduce_sum(tf.gather(table, tf.maximum(tokens, 0)) * there, axis=1)
    return total / tf.maximum(tf.reduce_sum(there, axis=1), 1.0)
