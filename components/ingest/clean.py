"""The rules of cleaning, in their order. Every rule counts what it removes.

Rules that judge one row alone run batch by batch while the files are read, so that only good rows,
in few and narrow columns, are ever held. Rules that need all rows run afterwards.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from components.ingest.columns import as_number, as_text, as_time
from components.ingest.config import Clean, DatasetConfig, Events, Outliers
from components.ingest.read import Table, read_batches

# The first rule that a row breaks is the one that counts it.
ROW_RULES = {
    "missing_id": "no user or no item",
    "unreadable_time": "no time, or a text that is none",
    "impossible_time": "before the earliest day of the config, or in the future",
    "after_as_of": "at or after the moment the data is taken as of",
    "other_event_type": "an event type that the config does not keep",
    "bad_quantity": "a quantity of zero or below, or infinite",
    "bad_price": "a price below zero, or infinite",
    "bad_rating": "an infinite rating",
    "not_in_catalogue": "an item that the catalogue does not list",
}
TABLE_RULES = {
    "duplicate": "equal to an earlier row in every column read",
    "rare_user": "a training event of a user with fewer than min_events_per_user",
    "rare_item": "a training event of an item with fewer than min_events_per_item",
}
_OPTIONAL = ("event_type", "quantity", "price")


@dataclass(frozen=True)
class Limits:
    """The moments that make a time impossible or too late, UTC without a zone.

    Attributes:
        now: Later events are in the future.
        as_of: Events at or after it are removed; None keeps all.
    """

    now: dt.datetime
    as_of: dt.datetime | None = None


@dataclass(frozen=True)
class GoodRows:
    """The events that broke no row rule.

    Attributes:
        rows: user, time, event_type?, quantity?, price?, rating?, identity?, and `code`: the row
            number of the item in the catalogue.
        rows_in: Rows read.
        removed: Rows removed by rule, in the order of the rules.
        dropped_columns: Columns of the files that the config does not name.
    """

    rows: pl.DataFrame
    rows_in: int
    removed: dict[str, int]
    dropped_columns: tuple[str, ...] = field(default=())


def read_good_rows(
    tables: Iterable[Table], config: DatasetConfig, *, items: pl.Series, limits: Limits
) -> GoodRows:
    """Read event files in batches and keep the rows that break no row rule.

    Args:
        tables: The files.
        config: The data set's config.
        items: Item ids of the catalogue, each once.
        limits: What is too late.

    Raises:
        InputError: If a file is broken, a column is missing or of the wrong type.
    """
    codes = pl.DataFrame(
        {"item": items, "code": pl.int_range(len(items), dtype=pl.UInt32, eager=True)}
    )
    used = [*config.events.columns.named().values(), *config.events.identity]
    good: list[pl.DataFrame] = []
    removed = dict.fromkeys(ROW_RULES, 0)
    rows_in = 0
    dropped: dict[str, None] = {}
    for table in tables:
        dropped |= dict.fromkeys(column for column in table.columns if column not in used)
        for batch in read_batches(table, used):
            rows_in += len(batch)
            rows = _canonical(batch, config.events, where=table.where)
            rows = rows.join(codes, on="item", how="left", maintain_order="left")
            rows = rows.with_columns(rule=_first_broken_rule(rows.columns, config.clean, limits))
            counts = rows.filter(pl.col("rule").is_not_null())["rule"].value_counts()
            for rule, count in counts.iter_rows():
                removed[rule] += count
            good.append(rows.filter(pl.col("rule").is_null()).drop("rule", "item"))
    return GoodRows(
        rows=pl.concat(good), rows_in=rows_in, removed=removed, dropped_columns=tuple(dropped)
    )


def _canonical(batch: pl.DataFrame, events: Events, *, where: str) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {}
    for meaning, column in events.columns.named().items():
        values, at = batch[column], f"{where}, column {column}"
        if meaning == "time":
            columns[meaning] = as_time(
                values, unit=events.time_unit, text_format=events.time_format, where=at
            )
        elif meaning in ("quantity", "price", "rating"):
            columns[meaning] = as_number(values, where=at)
        else:
            columns[meaning] = as_text(values, where=at)
    if events.identity:
        columns["identity"] = batch.select(pl.struct(events.identity).hash()).to_series()
    return pl.DataFrame(columns)


def _first_broken_rule(columns: list[str], clean: Clean, limits: Limits) -> pl.Expr:
    time = pl.col("time")
    broken = {
        "missing_id": pl.col("user").is_null() | pl.col("item").is_null(),
        "unreadable_time": time.is_null(),
        "impossible_time": (time < clean.earliest) | (time > limits.now),
        "after_as_of": time >= limits.as_of if limits.as_of else pl.lit(False),
        "other_event_type": pl.lit(False),
        "bad_quantity": pl.lit(False),
        "bad_price": pl.lit(False),
        "bad_rating": pl.lit(False),
        "not_in_catalogue": pl.col("code").is_null(),
    }
    if clean.event_types:
        kept = pl.col("event_type").is_in(list(clean.event_types))
        broken["other_event_type"] = ~kept.fill_null(False)
    if "quantity" in columns:
        broken["bad_quantity"] = (pl.col("quantity") <= 0) | pl.col("quantity").is_infinite()
    if "price" in columns:
        broken["bad_price"] = (pl.col("price") < 0) | pl.col("price").is_infinite()
    if "rating" in columns:
        broken["bad_rating"] = pl.col("rating").is_infinite()
    rules = pl.Enum(list(ROW_RULES))
    return pl.coalesce(
        pl.when(broken[rule].fill_null(False)).then(pl.lit(rule, dtype=rules)) for rule in ROW_RULES
    )


def without_duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that are not equal to an earlier one, without the identity column."""
    return rows.unique(keep="first", maintain_order=True).drop("identity", strict=False)


def unit_prices(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with the price of a line divided by its quantity."""
    return rows.with_columns(pl.col("price") / pl.col("quantity"))


def upper_cap(values: pl.Series, outliers: Outliers) -> float | None:
    """Return the value above which values are called outliers; None when there are no values.

    The larger of a quantile and median + deviations × 1.4826 × MAD, where MAD is the median of the
    absolute deviations from the median; 1.4826 × MAD estimates the standard deviation of a normal
    variable without being moved by outliers (Leys et al. 2013, "Detecting outliers", J. Exp. Soc.
    Psychol. 49). The quantile keeps a shop where more than half the quantities are 1, and MAD
    therefore 0, from losing every 2; the MAD keeps a price list without outliers as it is.
    """
    median = values.median()
    deviation = (values - median).abs().median() if isinstance(median, float) else None
    quantile = values.quantile(outliers.quantile, interpolation="higher")
    if not isinstance(median, float) or not isinstance(deviation, float) or quantile is None:
        return None
    return max(quantile, median + outliers.deviations * 1.4826 * deviation)


@dataclass(frozen=True)
class Capped:
    """What a cap did to a column: the cap, and how many rows were above it."""

    cap: float
    rows: int


def cap_outliers(
    rows: pl.DataFrame, outliers: Outliers | None, *, train_end: dt.datetime
) -> tuple[pl.DataFrame, dict[str, Capped]]:
    """Lower quantities and prices to their cap; the caps are those of the training period.

    Args:
        rows: The events.
        outliers: The rule; None leaves everything as it is.
        train_end: First moment after training; what comes later must not shape what is trained on.

    Returns:
        The rows, and what was done by column.
    """
    capped: dict[str, Capped] = {}
    if outliers is None:
        return rows, capped
    train = rows.filter(pl.col("time") < train_end)
    for column in ("quantity", "price"):
        cap = upper_cap(train[column], outliers) if column in rows.columns else None
        if cap is not None:
            capped[column] = Capped(cap=cap, rows=int((rows[column] > cap).sum()))
            rows = rows.with_columns(pl.col(column).clip(upper_bound=cap))
    return rows, capped


def k_core(
    rows: pl.DataFrame, *, per_user: int, per_item: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Remove users and items with too few events, again and again until none is left.

    Args:
        rows: Training events; later ones must not decide what is trained on.
        per_user: Least number of events of a user.
        per_item: Least number of events of an item.

    Returns:
        The rows kept, and the rows removed by the rules rare_user and rare_item.
    """
    removed = {"rare_user": 0, "rare_item": 0}
    limits = (("rare_user", "user", per_user), ("rare_item", "code", per_item))
    stable = False
    while not stable:
        stable = True
        for rule, column, least in limits:
            kept = rows.filter(pl.len().over(column) >= least) if least > 1 else rows
            removed[rule] += len(rows) - len(kept)
            stable = stable and len(kept) == len(rows)
            rows = kept
    return rows, removed
