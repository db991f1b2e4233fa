"""Cuts the events in time: what is trained on, what chooses, what judges."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from components.errors import InputError
from components.ingest.config import Split

SPLITS = ("train", "eval", "test")


@dataclass(frozen=True)
class Periods:
    """The moments between the splits: train < eval_start ≤ eval < test_start ≤ test < end."""

    eval_start: dt.datetime
    test_start: dt.datetime
    end: dt.datetime


def find_periods(last: dt.datetime, split: Split, *, as_of: dt.datetime | None) -> Periods:
    """Return the periods that end with the day of the last event, or at `as_of` when earlier.

    Args:
        last: Time of the last event.
        split: Length of the periods.
        as_of: The moment the data is taken as of, if any.
    """
    midnight = dt.datetime.combine(last.date(), dt.time()) + dt.timedelta(days=1)
    end = min(midnight, as_of) if as_of else midnight
    test_start = end - dt.timedelta(days=split.test_days)
    return Periods(test_start - dt.timedelta(days=split.eval_days), test_start, end)


def split_in_time(rows: pl.DataFrame, periods: Periods) -> dict[str, pl.DataFrame]:
    """Return the events by split, each sorted by time; equal times keep their order."""
    rows = rows.sort("time", maintain_order=True)
    first_eval = rows["time"].search_sorted(periods.eval_start)
    first_test = rows["time"].search_sorted(periods.test_start)
    return {
        "train": rows[:first_eval],
        "eval": rows[first_eval:first_test],
        "test": rows[first_test:],
    }


def refuse_empty(splits: dict[str, pl.DataFrame], periods: Periods, *, where: str) -> None:
    """Refuse a split that leaves nothing to train on, choose by or judge by.

    Raises:
        InputError: If a split has no events; names it and its period.
    """
    spans = {
        "train": f"before {periods.eval_start}",
        "eval": f"from {periods.eval_start} to {periods.test_start}",
        "test": f"from {periods.test_start} to {periods.end}",
    }
    for name in SPLITS:
        if splits[name].is_empty():
            found = f"no events left {spans[name]} for {name}"
            raise InputError(f"{where}, key split", found, "events in each of train, eval and test")
