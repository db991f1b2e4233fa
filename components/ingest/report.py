"""The data report: what the data is, and what cleaning did to it."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import markupsafe
import numpy as np
import polars as pl

from components.ingest.clean import ROW_RULES, TABLE_RULES
from components.ingest.config import DatasetConfig
from components.report import bar_plot, line_plot, paragraph, table, write_page

if TYPE_CHECKING:
    from components.ingest.ingest import IngestSummary

_CURVE_POINTS = 200


def write_report(
    path: Path,
    dataset: DatasetConfig,
    *,
    summary: "IngestSummary",
    splits: Mapping[str, pl.DataFrame],
    catalogue: pl.DataFrame,
) -> None:
    """Write the page.

    Args:
        path: File to write.
        dataset: The config, for the name and the limits.
        summary: The counts.
        splits: The events written; `code` is the item's row number in the catalogue.
        catalogue: `item` and the features.
    """
    kept = sum(summary.rows_out.values())
    lead = (
        f"{kept:,} of {summary.rows_in:,} events are kept: {summary.users:,} users, "
        f"{summary.items:,} items of a catalogue of {summary.catalogue_rows:,}."
    )
    events = pl.concat(splits.values())
    sections = [
        ("What cleaning did", _cleaning(summary)),
        ("Outliers", _outliers(summary, dataset)),
        ("The split in time", _split(summary, splits)),
        ("Events per day", _events_per_day(splits)),
        ("The long tail of items", _long_tail(events, summary)),
        ("Missing values", _missing(events, catalogue)),
        ("Catalogue", _catalogue(summary, catalogue, dataset)),
        ("Columns that were not read", _dropped(summary)),
    ]
    write_page(path, title=f"Data report: {dataset.name}", lead=lead, sections=sections)


def _cleaning(summary: "IngestSummary") -> markupsafe.Markup:
    meaning = ROW_RULES | TABLE_RULES
    rows: list[list[object]] = [["read", "events in the files", summary.rows_in, "100 %"]]
    for rule, count in summary.removed.items():
        rows.append([rule, meaning[rule], -count, _percent(count, summary.rows_in)])
    kept = sum(summary.rows_out.values())
    rows.append(["kept", "events written", kept, _percent(kept, summary.rows_in)])
    removed = {rule: count for rule, count in summary.removed.items() if count}
    plot = bar_plot(removed, x_label="events removed") if removed else paragraph("Nothing removed.")
    return table(["rule", "what it removes", "events", "share"], rows) + plot


def _outliers(summary: "IngestSummary", dataset: DatasetConfig) -> markupsafe.Markup:
    rule = dataset.clean.outliers
    if rule is None or not summary.capped:
        return paragraph("No column is capped.")
    rows = [
        [column, what.cap, what.rows, _percent(what.rows, summary.rows_in)]
        for column, what in summary.capped.items()
    ]
    note = (
        f"A value above the cap is lowered to it; the event stays. Cap: the larger of the "
        f"{rule.quantile:g} quantile and median + {rule.deviations:g} robust standard deviations, "
        "both of the training period."
    )
    return table(["column", "cap", "events lowered", "share"], rows) + paragraph(note, css="note")


def _split(summary: "IngestSummary", splits: Mapping[str, pl.DataFrame]) -> markupsafe.Markup:
    counts = {
        (name, column): events[column].value_counts()
        for name, events in splits.items()
        for column in ("user", "code")
    }
    rows = []
    for name, events in splits.items():
        of_new = {
            column: counts[name, column].join(counts["train", column], on=column, how="anti")
            for column in ("user", "code")
        }
        rows.append(
            [
                name,
                _minute(events["time"].min()),
                _minute(events["time"].max()),
                len(events),
                len(counts[name, "user"]),
                len(counts[name, "code"]),
                _percent(int(of_new["user"]["count"].sum()), len(events)),
                _percent(int(of_new["code"]["count"].sum()), len(events)),
            ]
        )
    header = ["split", "first event", "last event", "events", "users", "items"]
    header += ["events of users not in train", "of items not in train"]
    periods = summary.periods
    note = (
        f"Evaluation begins at {periods.eval_start}, test at {periods.test_start} (UTC). Nothing "
        "after the training period decides which users, items or caps are trained on."
    )
    return table(header, rows) + paragraph(note, css="note")


def _events_per_day(splits: Mapping[str, pl.DataFrame]) -> markupsafe.Markup:
    series: dict[str, tuple[list[float], list[float]]] = {}
    ticks: dict[float, str] = {}
    for name, events in splits.items():
        days = events.group_by(pl.col("time").dt.date().alias("day")).len().sort("day")
        numbers = [float(day.toordinal()) for day in days["day"]]
        series[name] = (numbers, days["len"].cast(pl.Float64).to_list())
        ticks |= {number: "" for number in numbers}
    ordinals = sorted(ticks)
    step = max(1, len(ordinals) // 6)
    ticks = {day: dt.date.fromordinal(int(day)).isoformat() for day in ordinals[::step]}
    return line_plot(series, x_label="day (UTC)", y_label="events", x_ticks=ticks)


def _long_tail(events: pl.DataFrame, summary: "IngestSummary") -> markupsafe.Markup:
    counts = events.group_by("code").len()["len"].sort(descending=True).to_numpy()
    ranks = np.unique(np.geomspace(1, len(counts), _CURVE_POINTS).round().astype(int))
    plot = line_plot(
        {"items": (ranks.tolist(), counts[ranks - 1].tolist())},
        x_label="item, by rank of popularity",
        y_label="events",
        log_x=True,
        log_y=True,
    )
    share = counts.cumsum() / counts.sum()
    half = int(np.searchsorted(share, 0.5)) + 1
    text = (
        f"{half:,} items ({_percent(half, len(counts))} of those bought) make half of all events; "
        f"{int((counts == 1).sum()):,} items have one event, and "
        f"{summary.catalogue_rows - len(counts):,} of the catalogue have none."
    )
    return paragraph(text) + plot


def _missing(events: pl.DataFrame, catalogue: pl.DataFrame) -> markupsafe.Markup:
    shares: dict[str, float] = {}
    for where, frame in (("events", events.drop("code")), ("catalogue", catalogue)):
        for column, gaps in zip(frame.columns, frame.null_count().row(0), strict=True):
            if gaps:
                shares[f"{where}: {column}"] = 100 * gaps / len(frame)
    if not shares:
        return paragraph("No value is missing, after cleaning, in any column.")
    return bar_plot(shares, x_label="% of rows without a value, after cleaning")


def _catalogue(
    summary: "IngestSummary", catalogue: pl.DataFrame, dataset: DatasetConfig
) -> markupsafe.Markup:
    rows: list[list[object]] = [["read", summary.catalogue_rows_in]]
    rows += [[rule, -count] for rule, count in summary.catalogue_removed.items()]
    rows.append(["kept", summary.catalogue_rows])
    features = [
        [name, config.type, catalogue[name].drop_nulls().n_unique(), _examples(catalogue[name])]
        for name, config in dataset.catalogue.features.items()
    ]
    listed = table(["feature", "type", "distinct values", "for example"], features)
    return table(["rule", "rows"], rows) + (listed if features else markupsafe.Markup(""))


def _dropped(summary: "IngestSummary") -> markupsafe.Markup:
    names = ", ".join(summary.dropped_columns) or "none"
    note = "A column that the config does not name is in no output: personal data stays outside."
    return paragraph(names) + paragraph(note, css="note")


def _examples(values: pl.Series) -> str:
    frequent = values.drop_nulls().value_counts(sort=True).head(3)[values.name]
    return " · ".join(str(value)[:40] for value in frequent)


def _minute(moment: object) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if isinstance(moment, dt.datetime) else "–"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"
