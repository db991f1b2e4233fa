"""The examples of an evaluation: held-out (user, item) pairs with the history before them."""

import dataclasses
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from components.errors import InputError
from components.evaluate.slices import add_slices
from components.splits import scan_split

_PADDING = ""


@dataclasses.dataclass(frozen=True)
class ExampleSettings:
    """How examples are taken from the test window.

    Attributes:
        max_examples: More pairs than this are sampled down to it.
        seed: Of the sampling.
        history_length: Most recent events shown to a model.
        categories: Categories with a slice of their own; the rest is "other".
    """

    max_examples: int = 20_000
    seed: int = 1
    history_length: int = 200
    categories: int = 10


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples sorted by user, and what was left out.

    Attributes:
        frame: user, item, history (list, oldest first, padded at the end with ""), and the
            slice columns; one row per example.
        left_out: Pairs of the test window that were not sampled.
    """

    frame: pl.DataFrame
    left_out: int


def make_examples(events_dir: Path, catalogue_dir: Path, *, settings: ExampleSettings) -> Examples:
    """Make the examples of the test window, with histories and slices.

    An example is a distinct (user, item) pair: an item bought three times in the window is one
    thing to have recommended, not three.

    Args:
        events_dir: Events with train, eval and test.
        catalogue_dir: Catalogue; its column "category", if any, becomes a slice.
        settings: Sampling and lengths.

    Raises:
        InputError: If the test window holds no event.
    """
    pairs = scan_split(events_dir, "test").select("user", "item").unique().sort("user", "item")
    held_out = pairs.collect()
    if held_out.is_empty():
        raise InputError(str(events_dir / "test"), "no events", "at least one to evaluate on")
    sampled = held_out.sample(min(settings.max_examples, held_out.height), seed=settings.seed)
    frame = describe_pairs(sampled, events_dir, catalogue_dir, settings=settings)
    return Examples(frame, held_out.height - frame.height)


def describe_pairs(
    pairs: pl.DataFrame, events_dir: Path, catalogue_dir: Path, *, settings: ExampleSettings
) -> pl.DataFrame:
    """Add what is known before the test window: each user's history, and the slice columns.

    Args:
        pairs: user, item and any other columns, which are kept.
        events_dir: Events with train, eval and test.
        catalogue_dir: Catalogue; its column "category", if any, becomes a slice.
        settings: Lengths.

    Returns:
        The pairs sorted by user and item; `history` oldest first, padded at the end with "".
    """
    frame = pairs.join(_histories(events_dir, pairs, settings), on="user", how="left")
    frame = add_slices(frame, events_dir, catalogue_dir, categories=settings.categories)
    return _pad(frame.sort("user", "item", maintain_order=True))


def _histories(events_dir: Path, sampled: pl.DataFrame, settings: ExampleSettings) -> pl.DataFrame:
    users = sampled.lazy().select("user").unique()
    return (
        scan_split(events_dir, "train", "eval")
        .join(users, on="user", how="semi")
        .sort("time", maintain_order=True)
        .group_by("user")
        .agg(history=pl.col("item").tail(settings.history_length))
        .collect()
    )


def _pad(frame: pl.DataFrame) -> pl.DataFrame:
    length = max(1, int(frame.select(pl.col("history").list.len().max()).item() or 0))
    history = pl.col("history").fill_null(pl.lit([], dtype=pl.List(pl.String)))
    padding = pl.lit([_PADDING] * length, dtype=pl.List(pl.String))
    return frame.with_columns(history=pl.concat_list(history, padding).list.head(length))


def write_examples(frame: pl.DataFrame, path: Path, *, rows: int) -> int:
    """Write examples as TFMA reads them, one Parquet row group per batch.

    Every column is a list, strings are bytes. A row group never ends inside a user, so that one
    household is one unit of the resampling that gives the confidence intervals; a household
    with more than `rows` examples makes a larger row group.

    Args:
        frame: Examples sorted by user.
        path: File to write.
        rows: Least rows of a row group, except the last.

    Returns:
        How many row groups were written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: _as_lists(frame[name]) for name in frame.columns})
    begin = end = groups = 0
    with pq.ParquetWriter(path, table.schema) as writer:
        for length in frame["user"].rle().struct.field("len"):
            end += length
            if end - begin >= rows or end == frame.height:
                writer.write_table(table.slice(begin, end - begin), row_group_size=end - begin)
                begin, groups = end, groups + 1
    return groups


def read_batch(path: str, row_group: int) -> pa.RecordBatch:
    """Read one row group written by `write_examples`, from a path or gs://."""
    with FileSystems.open(path) as opened, pq.ParquetFile(opened) as parquet:
        table = parquet.read_row_group(row_group)
    return table.combine_chunks().to_batches()[0]


def _as_lists(column: pl.Series) -> pa.Array:
    values = column.to_arrow()
    if isinstance(column.dtype, pl.List):
        return values.cast(pa.large_list(pa.large_binary()))
    if column.dtype == pl.String:
        values = values.cast(pa.large_binary())
    offsets = pa.array(range(len(values) + 1), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, values)
