"""Finds the input files, wherever they are, and reads them in batches of rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.errors import InputError
from components.object_store import open_file, open_store

BATCH_ROWS = 100_000
MAX_FIELD_BYTES = 65_536  # far above any title; a longer field is a broken quote or another file
_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_EXPECTED_FILE = f"a file that ends with {', '.join(_SUFFIXES)}"


@dataclass(frozen=True)
class Table:
    """One input file, opened but not read.

    Attributes:
        where: The file as the user named it, for errors.
        frame: All its columns; every column of a CSV file is text.
        columns: Their names.
        is_parquet: Whether the file is Parquet, where columns can be read by themselves.
    """

    where: str
    frame: pl.LazyFrame
    columns: tuple[str, ...]
    is_parquet: bool


def find_files(uris: Sequence[str], *, scratch: Path) -> list[tuple[str, Path]]:
    """Return the files that URIs mean, as (name for errors, local path).

    Args:
        uris: Files or folders, local or gs://; of a folder, every CSV and Parquet file below it.
        scratch: Where files from a bucket are downloaded to.

    Raises:
        InputError: If there is no such file, or it is of an unknown kind.
    """
    found = [file for uri in uris for file in _find(uri.strip(), scratch=scratch)]
    if not found:
        raise InputError("input files", "none", _EXPECTED_FILE)
    return found


def _find(uri: str, *, scratch: Path) -> list[tuple[str, Path]]:
    store = open_store(uri)
    names = [name for name in store.names() if name.endswith(_SUFFIXES)] if uri else []
    if not names:
        store, name = open_file(uri)
        if name in ("", ".", "..") or not store.exists(name):
            expected = f"{_EXPECTED_FILE}, or a folder of them"
            raise InputError(uri or "input file", "no such file, or no data in it", expected)
        if not name.endswith(_SUFFIXES):
            raise InputError(uri, "a file of an unknown kind", _EXPECTED_FILE)
        names = [name]
    if not store.root.startswith("gs://"):
        return [(str(Path(store.root) / name), Path(store.root) / name) for name in names]
    local = scratch / store.root.removeprefix("gs://")
    for name in names:
        store.download(name, local / name)
    return [(f"{store.root}/{name}", local / name) for name in names]


def open_table(path: Path, *, where: str) -> Table:
    """Open a file and read its header.

    Raises:
        InputError: If the file is empty or its header cannot be read.
    """
    if path.stat().st_size == 0:
        raise InputError(where, "an empty file", "a header and rows")
    with _reading(where):
        # glob off: a bracket in a file's name is a letter.
        if is_parquet := path.suffix == ".parquet":
            frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        else:
            frame = pl.scan_csv(path, glob=False, infer_schema=False)
        columns = tuple(frame.collect_schema().names())
    return Table(where=where, frame=frame, columns=columns, is_parquet=is_parquet)


def read_batches(table: Table, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of some columns, about `BATCH_ROWS` at a time, in the file's order.

    Raises:
        InputError: If a column is not there, the file breaks off or is corrupt, there is no row,
            or a text holds a NUL byte or is longer than `MAX_FIELD_BYTES`.
    """
    for column in columns:
        if column not in table.columns:
            raise InputError(
                f"{table.where}, column {column}", _shown(table.columns), "that column"
            )
    empty, wanted = True, list(dict.fromkeys(columns))
    with _reading(table.where):
        # Of a CSV file all columns are read: only so is a row with too many fields, the mark of an
        # unquoted comma, found by the reader.
        frame = table.frame.select(wanted) if table.is_parquet else table.frame
        for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            empty = empty and batch.is_empty()
            _check_text(batch, where=table.where)
            yield batch.select(wanted)
    if empty:
        raise InputError(table.where, "a header and no rows", "at least one row")


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn what the reader says about a broken file into one line that names the file."""
    try:
        yield
    except pl.exceptions.NoDataError as error:
        raise InputError(where, "an empty file", "a header and rows") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(where, f"a broken file ({reason})", "complete CSV or Parquet") from error


def _check_text(batch: pl.DataFrame, *, where: str) -> None:
    for column in batch.select(pl.col(pl.String)):
        at = f"{where}, column {column.name}"
        longest = column.str.len_bytes().max()
        if isinstance(longest, int) and longest > MAX_FIELD_BYTES:
            raise InputError(at, f"a field of {longest:,} bytes", f"at most {MAX_FIELD_BYTES:,}")
        if column.str.contains("\0", literal=True).any():
            raise InputError(at, "a NUL byte", "text without one")


def _shown(columns: Sequence[str]) -> str:
    listed = ", ".join(columns[:20])
    return f"columns {listed}" + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
