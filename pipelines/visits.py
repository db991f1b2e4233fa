"""Held-out purchases as visits: who bought what on a day, and what was known before it."""

import dataclasses
import datetime
from pathlib import Path

import polars as pl


@dataclasses.dataclass(frozen=True)
class Visit:
    """One day a user bought something: what is known before it and what was bought then.

    Attributes:
        user: User id.
        history: Item ids bought before that day, oldest first.
        bought: Item ids the user bought that day.
    """

    user: str
    history: tuple[str, ...]
    bought: frozenset[str]


def held_out_visits(
    transactions: Path, *, start: datetime.date, days: int, history_length: int = 100
) -> list[Visit]:
    """Read who bought something in a span of days the model has not seen, and their past.

    Args:
        transactions: Complete Journey's purchases, Parquet.
        start: First day of the replay; everything before it is history.
        days: Length of the replay.
        history_length: At most this many past items, the most recent ones.

    Returns:
        One visit per user and day, in the order of their first purchases of the day.
    """
    begin = datetime.datetime.combine(start, datetime.time())
    time = pl.col("time")
    events = pl.scan_parquet(transactions).select(
        user=pl.col("household_id").cast(pl.String),
        item=pl.col("product_id").cast(pl.String),
        time=pl.col("transaction_timestamp").dt.replace_time_zone(None).cast(pl.Datetime("us")),
    )
    span = events.filter(time.is_between(begin, begin + datetime.timedelta(days=days)))
    return _visits(events.filter(time < begin), span, history_length=history_length)


def visits_of_the_test_window(events_dir: Path, *, history_length: int = 100) -> list[Visit]:
    """Read who bought something in the test window of cleaned events, and their past.

    Args:
        events_dir: The ingest step's events, with train, eval and test.
        history_length: At most this many past items, the most recent ones.

    Returns:
        One visit per user and day, in the order of their first events of the day.
    """
    columns = ("user", "item", "time")
    past, window = (
        pl.scan_parquet([events_dir / name / "*.parquet" for name in names]).select(columns)
        for names in (("train", "eval"), ("test",))
    )
    return _visits(past, window, history_length=history_length)


def _visits(past: pl.LazyFrame, span: pl.LazyFrame, *, history_length: int) -> list[Visit]:
    day, before = pl.col("time").dt.date().alias("day"), pl.col("before")
    recent = (
        past.join(span, on="user", how="semi")
        .sort("time", maintain_order=True)
        .group_by("user", maintain_order=True)
        .tail(history_length)
    )
    events = pl.concat([recent.select("user", "item", "time"), span.select("user", "item", "time")])
    events = events.sort("time", maintain_order=True).with_columns(day)
    days = (
        events.group_by("user", "day", maintain_order=True)
        .agg(count=pl.len())
        .with_columns(before=(pl.col("count").cum_sum() - pl.col("count")).over("user"))
    )
    visits = (
        span.group_by("user", day)
        .agg(first=pl.col("time").min(), bought=pl.col("item").unique())
        .join(days, on=["user", "day"])
        .join(events.group_by("user", maintain_order=True).agg("item"), on="user")
        .with_columns(begin=pl.max_horizontal(before.cast(pl.Int64) - history_length, 0))
        .with_columns(history=pl.col("item").list.slice("begin", before - pl.col("begin")))
        .sort("first", "user")
        .collect()
    )
    rows = zip(visits["user"], visits["history"], visits["bought"], strict=True)
    return [Visit(user, tuple(history), frozenset(bought)) for user, history, bought in rows]
