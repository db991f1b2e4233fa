"""The events of the splits, and the catalogue, unread."""

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


def scan_catalogue(catalogue_dir: Path) -> pl.LazyFrame:
    """Return the catalogue, unread.

    Raises:
        InputError: If there is no Parquet file.
    """
    if not list(catalogue_dir.glob("*.parquet")):
        raise InputError(str(catalogue_dir), "no *.parquet file", "the catalogue")
    return pl.scan_parquet(str(catalogue_dir / "*.parquet"))
