"""Writes the outputs: all of them, or none."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 100_000
PART_ROWS = 2_000_000  # one file's share, so that Beam workers have something to divide


@contextmanager
def all_or_nothing(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a place to write for each target; they become the targets together at the end.

    After an error nothing is left. After a kill the leftovers have hidden names, and the next run
    for the same targets removes them.

    Args:
        targets: Files or folders to write; old ones are replaced.
    """
    parts = [target.with_name(f".{target.name}.partial") for target in targets]
    try:
        for target, part in zip(targets, parts, strict=True):
            _remove(part)
            target.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        for target, part in zip(targets, parts, strict=True):
            _remove(target)
            part.rename(target)
    finally:
        for part in parts:
            _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_events(
    folder: Path, rows: pl.DataFrame, *, catalogue: pl.DataFrame, columns: Sequence[str]
) -> None:
    """Write events with their item and its features joined on, one row group at a time.

    Args:
        folder: Where part-*.parquet go; made when missing.
        rows: The events; `code` is the row number in the catalogue.
        catalogue: `item` and the features.
        columns: The columns to write, in order.
    """
    joined = (
        pl.concat([some.drop("code"), catalogue[some["code"]]], how="horizontal")
        for some in rows.iter_slices(ROW_GROUP_ROWS)
    )
    write_parts(folder, (some.select(columns) for some in joined))


def write_parts(folder: Path, groups: Iterator[pl.DataFrame]) -> None:
    """Write one row group per frame to part-00000.parquet, part-00001.parquet and so on.

    Args:
        folder: Where to write; made when missing.
        groups: Frames of the same columns, each of about `ROW_GROUP_ROWS` rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | None = None
    parts = rows = 0
    try:
        for group in groups:
            table = _plain(group.to_arrow(compat_level=pl.CompatLevel.oldest()))
            if writer is not None and rows >= PART_ROWS:
                writer.close()
                writer, rows = None, 0
            if writer is None:
                path = folder / f"part-{parts:05d}.parquet"
                writer, parts = pq.ParquetWriter(path, table.schema, compression="zstd"), parts + 1
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            rows += len(table)
    finally:
        if writer is not None:
            writer.close()


def _plain(table: pa.Table) -> pa.Table:
    """Polars' large strings as the strings that Beam and TensorFlow Transform expect."""
    fields = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
