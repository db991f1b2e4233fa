"""The events on disk, in shards of whole users: a log may be larger than the memory.

Reading is one pass over the Parquet files, some rows at a time: each row goes to the shard of its
user, chosen by a hash of the user, so that a shard is a random sample of the users. Then each shard
is sorted in memory and written as one array per column. What trains reads a shard at a time, and a
log of few events is one shard.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from components.train.interactions import Interactions
from components.train.items import ItemRows, ItemTable
from components.train.tables import (
    FeatureGraph,
    of_distinct,
    parquet_files,
    stream_columns,
    string_tensor,
)

# A shard is sorted, cut into baskets and shuffled in memory, at about 150 bytes an event.
SHARD_EVENTS = 1_500_000
_ROW = np.dtype(
    [("name", "i8"), ("user", "i4"), ("item", "i4"), ("time_us", "i8"), ("rating", "f4"),
     ("train", "?")]
)  # fmt: skip
_COLUMNS = ("owner", "user", "item", "time_us", "rating", "train")
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EventLog(Sequence[Interactions]):
    """Events of the train and the eval split: a sequence of shards, read when asked for.

    Its elements are the train events.

    Attributes:
        folder: Where the shards lie; whoever writes the log deletes it.
        first: Number of each shard's first train event, then how many there are, [shards + 1].
        rated: Whether events have ratings.
        train_until_us: Time of the last train event.
    """

    folder: Path
    first: tuple[int, ...]
    rated: bool
    train_until_us: int

    @property
    def events(self) -> int:
        """Number of train events."""
        return self.first[-1]

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.first) - 1

    def __getitem__(self, shard: Any) -> Any:
        """Return a shard's train events, in memory."""
        return self._read(range(len(self))[shard], only=self._column(shard, "train"))

    def both(self, shard: int) -> Interactions:
        """Return a shard's train and eval events, in memory."""
        return self._read(shard, only=slice(None))

    def whole(self) -> Interactions:
        """Return all train events, in memory: for a model that is fitted to them at once."""
        shards, columns = list(self), _COLUMNS[: 5 if self.rated else 4]
        joined = {name: np.concatenate([getattr(s, name) for s in shards]) for name in columns}
        return Interactions(**joined, first=0)

    def _read(self, shard: int, *, only: Any) -> Interactions:
        columns = _COLUMNS[: 5 if self.rated else 4]
        arrays = {name: np.array(self._column(shard, name)[only]) for name in columns}
        return Interactions(**arrays, first=self.first[shard])

    def _column(self, shard: int, name: str) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = np.load(self.folder / f"{shard}.{name}.npy", mmap_mode="r")
        return column


def write_event_log(
    folder: Path,
    *,
    train_dir: Path,
    eval_dir: Path,
    graph: FeatureGraph,
    items: ItemTable,
    shard_events: int = SHARD_EVENTS,
) -> EventLog:
    """Shard the train and the eval split by user, and sort each user's events by time.

    Users without an index of their own are told apart by a hash of 63 bits. Events of items that
    are not in the item table are left out and counted in the log line.

    Args:
        folder: An empty folder, on a disk with room for about 60 bytes an event.
        train_dir: The train split.
        eval_dir: The eval split.
        graph: The transform graph.
        items: The item table.
        shard_events: Events in a shard, about; one user's are never parted.

    Raises:
        InputError: If a split is missing or cannot be read.
    """
    files = parquet_files(train_dir) + parquet_files(eval_dir)
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    shards = max(-(-rows // shard_events), 1)
    reader = _RowReader(graph, items)
    left_out, until_us, rated = 0, 0, False
    for split, train in ((train_dir, True), (eval_dir, False)):
        for table in stream_columns(split, ["user", "item", "time"], optional=["rating"]):
            read = reader.rows(table, train=train)
            known = read[read["item"] >= 0]
            left_out += len(read) - len(known)
            if train:
                rated = "rating" in table.column_names
                until_us = max(until_us, int(known["time_us"].max(initial=0)))
            _append(folder, known, shards=shards)
    if left_out:
        _log.info("train: %s events of items in no catalogue are left out", f"{left_out:,}")
    first, owners = [0], 0
    for shard in range(shards):
        trained, users = _sort(folder, shard, owners=owners)
        first.append(first[-1] + trained)
        owners += users
    return EventLog(folder, tuple(first), rated, until_us)


class _RowReader:
    """Turns columns of strings and times into rows of numbers."""

    def __init__(self, graph: FeatureGraph, items: ItemTable) -> None:
        self._graph = graph
        self._rows = ItemRows(graph, pa.array(items.names[items.vocabulary :], pa.large_binary()))

    def rows(self, table: pa.Table, *, train: bool) -> npt.NDArray[np.void]:
        """Return the rows of a table, of type `_ROW`; an item that is in no table is −1."""
        rows = np.empty(len(table), _ROW)
        rows["name"] = of_distinct(table["user"], _hash)
        rows["user"] = self._graph.encode(table["user"], "user")
        rows["item"] = self._rows.of(table["item"])
        time = table["time"].cast(pa.timestamp("us")).cast(pa.int64())
        rows["time_us"] = time.to_numpy()
        rows["rating"] = np.nan
        if "rating" in table.column_names:
            rows["rating"] = table["rating"].cast(pa.float32()).to_numpy()
        rows["train"] = train
        return rows


def _hash(entries: pa.Array) -> npt.NDArray[np.int64]:
    buckets = tf.strings.to_hash_bucket_fast(string_tensor(entries), 2**63 - 1)
    return np.asarray(buckets, np.int64)


def _append(folder: Path, rows: npt.NDArray[np.void], *, shards: int) -> None:
    shard = rows["name"] % shards
    order = np.argsort(shard, kind="stable")
    ends = np.cumsum(np.bincount(shard, minlength=shards))
    for number, part in enumerate(np.split(rows[order], ends[:-1])):
        with (folder / f"{number}.rows").open("ab") as file:
            part.tofile(file)


def _sort(folder: Path, shard: int, *, owners: int) -> tuple[int, int]:
    """Replace a shard's rows by its sorted columns; return its train events and its users."""
    unsorted = folder / f"{shard}.rows"
    rows = np.fromfile(unsorted, _ROW)
    unsorted.unlink()
    _, first, user = np.unique(rows["name"], return_index=True, return_inverse=True)
    # Users are numbered in the order in which the log names them.
    number = np.empty(len(first), np.int32)
    number[np.argsort(first)] = np.arange(len(first))
    owner = number[user]
    order = np.lexsort((rows["time_us"], owner))
    np.save(folder / f"{shard}.owner.npy", owner[order] + np.int32(owners))
    for name in _COLUMNS[1:]:
        np.save(folder / f"{shard}.{name}.npy", rows[name][order])
    return int(rows["train"].sum()), len(first)
