"""The events of the splits, unread."""

from pathlib import Path

import polars as pl

from components.errors import InputError


def scan_split(
    events_dir: Path, *splits: str, columns: tuple[str, ...] = ("user", "item", "time")
) -> pl.LazyFrame:
    """Return some columns of one or more splits, unread.

    Raises:
        InputError: If a split has no Parquet file.
    """
    for split in splits:
        if not list((events_dir / split).glob("*.parquet")):
            raise InputError(str(events_dir / split), "no *.parquet file", "the split's events")
    frames = [pl.scan_parquet(str(events_dir / split / "*.parquet")) for split in splits]
    return pl.concat([frame.select(*columns) for frame in frames])
