"""Reads the item catalogue: one row per item, canonical names and types."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from components.ingest.columns import as_number, as_text
from components.ingest.config import Catalogue, CatalogueFeature
from components.ingest.read import Table, read_batches


@dataclass(frozen=True)
class CleanCatalogue:
    """The catalogue after cleaning.

    Attributes:
        rows: `item` and the features, one row per item, in the files' order.
        rows_in: Rows read.
        removed: Rows removed by rule, in the order of the rules.
        dropped_columns: Columns of the files that the config does not name.
    """

    rows: pl.DataFrame
    rows_in: int
    removed: Mapping[str, int]
    dropped_columns: tuple[str, ...]


def read_catalogue(tables: Iterable[Table], config: Catalogue) -> CleanCatalogue:
    """Read catalogue files; of rows with the same item the first is kept.

    Raises:
        InputError: If a file is broken, a column is missing or of the wrong type.
    """
    parts: list[pl.DataFrame] = []
    dropped: dict[str, None] = {}
    used = [config.item, *(c for feature in config.features.values() for c in feature.columns)]
    for table in tables:
        dropped |= dict.fromkeys(column for column in table.columns if column not in used)
        for batch in read_batches(table, used):
            parts.append(_canonical(batch, config, where=table.where))
    read = pl.concat(parts)
    named = read.filter(pl.col("item").is_not_null())
    rows = named.unique("item", keep="first", maintain_order=True)
    return CleanCatalogue(
        rows=rows,
        rows_in=len(read),
        removed={"missing_id": len(read) - len(named), "duplicate_item": len(named) - len(rows)},
        dropped_columns=tuple(dropped),
    )


def _canonical(batch: pl.DataFrame, config: Catalogue, *, where: str) -> pl.DataFrame:
    columns = {"item": as_text(batch[config.item], where=f"{where}, column {config.item}")}
    for name, feature in config.features.items():
        columns[name] = _feature(batch, feature, where=where)
    return pl.DataFrame(columns)


def _feature(batch: pl.DataFrame, feature: CatalogueFeature, *, where: str) -> pl.Series:
    as_type = as_number if feature.type == "numeric" else as_text
    parts = [as_type(batch[name], where=f"{where}, column {name}") for name in feature.columns]
    if len(parts) == 1:
        return parts[0]
    joined = pl.select(pl.concat_str(parts, separator=" ", ignore_nulls=True)).to_series()
    return joined.set(joined == "", None)
