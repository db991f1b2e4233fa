"""Histories and item features from Parquet files, held in memory and reloaded when they change."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serving.transformer.features import Columns, ItemFeatures
from serving.transformer.files import Files, FilesError, read_table

T = TypeVar("T")


class Watched(Generic[T]):
    """Something built from files, built again after they have changed.

    Attributes:
        now: What was built last; replaced as a whole.
    """

    def __init__(
        self, files: Files, columns: list[str], build: Callable[[pa.Table], T], where: str
    ) -> None:
        """Build it for the first time.

        Args:
            files: Where the Parquet files are.
            columns: Columns they must have.
            build: Makes the thing of all their rows.
            where: What the files are, for messages.

        Raises:
            FilesError: If they cannot be read.
        """
        self._files, self._columns, self._build, self._where = files, columns, build, where
        self._lock = threading.Lock()
        self._versions: Mapping[str, str] = {}
        self.now: T
        self.reload()

    def reload(self) -> bool:
        """Build it again if the files are others; what was built stays when that fails.

        Returns:
            Whether it was built again.

        Raises:
            FilesError: If the files cannot be read.
        """
        with self._lock:
            versions = self._files.versions()
            if versions == self._versions:
                return False
            try:
                built = self._build(read_table(self._files, versions, self._columns))
            except (pa.ArrowException, FilesError) as error:
                raise FilesError(f"{self._where}: {' '.join(str(error).split())[:300]}") from error
            self.now, self._versions = built, versions
            return True


class UserTable:
    """The items of each user in the order of time, as one array with an offset per user."""

    def __init__(self, events: pa.Table) -> None:
        """Sort the events by user and time.

        Args:
            events: Columns `user`, `item`, `time`; rows with a null are left out.
        """
        columns = {"user": _text(events["user"]), "item": _text(events["item"])}
        events = pa.table({**columns, "time": events["time"]}).drop_null()
        order = pc.sort_indices(events, [("user", "ascending"), ("time", "ascending")])
        events = events.take(order)
        users = events["user"].dictionary_encode().combine_chunks()
        items = events["item"].dictionary_encode().combine_chunks()
        names: list[str] = users.dictionary.to_pylist()
        self._row = {name: row for row, name in enumerate(names)}
        self._items = items.dictionary
        self._codes: npt.NDArray[np.int32] = items.indices.to_numpy(zero_copy_only=False)
        counts = np.bincount(users.indices.to_numpy(zero_copy_only=False), minlength=len(names))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])

    def items(self, user: str) -> list[str]:
        """Return a user's items, the most recent last; none for a user nobody knows."""
        row = self._row.get(user)
        if row is None:
            return []
        codes = self._codes[self._offsets[row] : self._offsets[row + 1]]
        listed: list[str] = self._items.take(pa.array(codes)).to_pylist()
        return listed


class ItemTable:
    """Item features by item."""

    def __init__(self, table: pa.Table, columns: Columns) -> None:
        """Check the columns' types.

        Args:
            table: Column `item`, and those of `columns`; of an item's rows the last counts.
            columns: Names of the features, "" for one that is not there.

        Raises:
            FilesError: If a column has another type.
        """
        table = table.filter(pc.is_valid(table["item"]))
        items: list[str] = _text(table["item"]).to_pylist()
        self._row = {item: row for row, item in enumerate(items)}
        # One more row than there are items: the last one is that of items nobody knows.
        self._categories: list[str | None] = [None] * (len(items) + 1)
        if columns.category:
            self._categories[:-1] = _text(table[columns.category]).to_pylist()
        self._in_stock = np.ones(len(items) + 1, dtype=np.bool_)
        if columns.stock:
            self._in_stock[:-1] = _stock(table[columns.stock], columns.stock)
        self._vectors = _vectors(table[columns.vector], columns.vector) if columns.vector else None

    def features(self, items: Sequence[str]) -> ItemFeatures:
        """Return the items' features, in their order."""
        nobody_knows = len(self._categories) - 1
        rows = [self._row.get(item, nobody_knows) for item in items]
        index = np.asarray(rows, dtype=np.intp)
        return ItemFeatures(
            [self._categories[row] for row in rows],
            self._in_stock[index],
            None if self._vectors is None else self._vectors[index],
        )


class ParquetHistories:
    """Histories from event files such as ingest's."""

    def __init__(self, files: Files) -> None:
        """Load them.

        Raises:
            FilesError: If they cannot be read.
        """
        columns = ["user", "item", "time"]
        self.watched = Watched(files, columns, UserTable, "history")

    async def of(self, users: Sequence[str]) -> Sequence[Sequence[str]]:
        """See `Histories.of`."""
        table = self.watched.now
        return [table.items(user) for user in users]


class ParquetItems:
    """Item features from catalogue files."""

    def __init__(self, files: Files, columns: Columns) -> None:
        """Load them.

        Raises:
            FilesError: If they cannot be read.
        """
        names = [name for name in (columns.category, columns.stock, columns.vector) if name]
        wanted = list(dict.fromkeys(["item", *names]))
        self.watched = Watched(files, wanted, lambda table: ItemTable(table, columns), "items")

    async def of(self, items: Sequence[str]) -> ItemFeatures:
        """See `Items.of`."""
        return self.watched.now.features(items)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _stock(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.bool_]:
    kind = column.type
    if pa.types.is_boolean(kind):
        truth = column
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        truth = pc.greater(column, pa.scalar(0).cast(kind))
    else:
        raise FilesError(f"column {name!r}: found {kind}, expected numbers or true and false")
    in_stock: npt.NDArray[np.bool_] = truth.fill_null(True).combine_chunks().to_numpy(False)
    return in_stock


def _vectors(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float32]:
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not lists and not pa.types.is_fixed_size_list(kind):
        raise FilesError(f"column {name!r}: found {kind}, expected lists of numbers")
    column = column.cast(pa.list_(pa.float32())).combine_chunks()
    known = column.is_valid().to_numpy(False)
    lengths = {int(length) for length in pc.unique(pc.list_value_length(column)).drop_null()}
    if len(lengths) > 1:
        raise FilesError(f"column {name!r}: found lengths {sorted(lengths)[:5]}, expected one")
    width = lengths.pop() if lengths else 0
    vectors = np.zeros((len(column) + 1, max(width, 1)), dtype=np.float32)
    if width == 0:
        return vectors
    flat = column.flatten().to_numpy(False).reshape(-1, width)
    # A null or an infinity in a vector makes it no vector: the item counts as having none.
    vectors[:-1][known] = np.where(np.isfinite(flat).all(axis=1, keepdims=True), flat, 0.0)
    return vectors
