"""From raw files to the step's four outputs."""

import dataclasses
import datetime as dt
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.errors import InputError
from components.ingest.catalogue import CleanCatalogue, read_catalogue
from components.ingest.clean import (
    Capped,
    Limits,
    cap_outliers,
    k_core,
    read_good_rows,
    unit_prices,
    without_duplicates,
)
from components.ingest.config import DatasetConfig
from components.ingest.privacy import hash_users
from components.ingest.read import Table, find_files, open_table
from components.ingest.report import write_report
from components.ingest.schema import build_schema, schema_text
from components.ingest.split import Periods, find_periods, refuse_empty, split_in_time
from components.ingest.write import ROW_GROUP_ROWS, all_or_nothing, write_events, write_parts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestSummary:
    """What went in, what came out, and where the difference went.

    Attributes:
        rows_in: Events read.
        removed: Events removed by rule, in the order of the rules; zeros included.
        capped: What the outlier caps did, by column.
        rows_out: Events written, by split.
        catalogue_rows_in: Catalogue rows read.
        catalogue_removed: Catalogue rows removed by rule.
        catalogue_rows: Items written.
        users: Distinct users in the events written.
        items: Distinct items in the events written.
        dropped_columns: "events.<name>" and "catalogue.<name>" of columns in no output.
        periods: Where the splits begin and end.
    """

    rows_in: int
    removed: Mapping[str, int]
    capped: Mapping[str, Capped]
    rows_out: Mapping[str, int]
    catalogue_rows_in: int
    catalogue_removed: Mapping[str, int]
    catalogue_rows: int
    users: int
    items: int
    dropped_columns: tuple[str, ...]
    periods: Periods

    def __str__(self) -> str:
        """One line with the counts."""
        removed = ", ".join(f"{rule} {count:,}" for rule, count in self.removed.items() if count)
        capped = ", ".join(f"{column} {what.rows:,}" for column, what in self.capped.items())
        out = ", ".join(f"{split} {rows:,}" for split, rows in self.rows_out.items())
        return (
            f"ingest: {self.rows_in:,} events in; removed: {removed or 'none'}; capped: "
            f"{capped or 'none'}; out: {out}; {self.users:,} users, {self.items:,} items bought of "
            f"{self.catalogue_rows:,}"
        )


def ingest(
    dataset: DatasetConfig,
    *,
    events_uris: Sequence[str],
    catalogue_uris: Sequence[str],
    as_of: str,
    hash_key: str,
    events_dir: Path,
    catalogue_dir: Path,
    schema_path: Path,
    report_path: Path,
) -> IngestSummary:
    """Read, clean, join and split a shop's log; write everything or, after an error, nothing.

    Args:
        dataset: What the columns mean and how to clean them.
        events_uris: Files or folders of the behaviour log, local or gs://.
        catalogue_uris: The same for the item catalogue.
        as_of: ISO date or time, UTC; events at or after it are removed. "" keeps all.
        hash_key: Secret for hashing user ids; used when the config says `hash_users`.
        events_dir: Folder for {train,eval,test}/part-*.parquet.
        catalogue_dir: Folder for part-*.parquet.
        schema_path: File for the schema, text proto.
        report_path: File for the data report, HTML.

    Returns:
        What was read, removed and written.

    Raises:
        InputError: If an input, the config's columns or `as_of` are not what is needed.
    """
    limits = Limits(now=dt.datetime.now(dt.UTC).replace(tzinfo=None), as_of=_moment(as_of))
    events_where = f"data set {dataset.name}"
    with tempfile.TemporaryDirectory(prefix="shopflow-ingest-") as scratch:
        catalogue = read_catalogue(
            _tables(catalogue_uris, scratch=Path(scratch, "catalogue")), dataset.catalogue
        )
        good = read_good_rows(
            _tables(events_uris, scratch=Path(scratch, "events")),
            dataset,
            items=catalogue.rows["item"],
            limits=limits,
        )
    removed = dict(good.removed)
    rows = without_duplicates(good.rows)
    removed["duplicate"] = len(good.rows) - len(rows)
    last = rows["time"].max()
    if not isinstance(last, dt.datetime):
        counts = ", ".join(f"{rule} {count:,}" for rule, count in removed.items() if count)
        found = f"{good.rows_in:,} events of which cleaning leaves none ({counts})"
        raise InputError(events_where, found, "columns and rules that fit the files")

    if dataset.events.price_of == "line":
        rows = unit_prices(rows)
    if dataset.clean.hash_users:
        rows = rows.with_columns(hash_users(rows["user"], key=hash_key))
    periods = find_periods(last, dataset.split, as_of=limits.as_of)
    rows, capped = cap_outliers(rows, dataset.clean.outliers, train_end=periods.eval_start)
    splits = split_in_time(rows, periods)
    splits["train"], rare = k_core(
        splits["train"],
        per_user=dataset.clean.min_events_per_user,
        per_item=dataset.clean.min_events_per_item,
    )
    removed |= rare
    refuse_empty(splits, periods, where=events_where)

    kept = pl.concat(splits.values())
    summary = IngestSummary(
        rows_in=good.rows_in,
        removed=removed,
        capped=capped,
        rows_out={name: len(part) for name, part in splits.items()},
        catalogue_rows_in=catalogue.rows_in,
        catalogue_removed=catalogue.removed,
        catalogue_rows=len(catalogue.rows),
        users=kept["user"].n_unique(),
        items=kept["code"].n_unique(),
        dropped_columns=_dropped(good.dropped_columns, catalogue),
        periods=periods,
    )
    # The promise that nothing is dropped silently.
    assert summary.rows_in == len(kept) + sum(removed.values()), summary
    schema = build_schema(kept, catalogue.rows, features=dataset.catalogue.features)
    columns = [feature.name for feature in schema.feature]
    targets = [events_dir, catalogue_dir, schema_path, report_path]
    with (
        all_or_nothing(targets) as (events_part, catalogue_part, schema_part, report_part),
        ThreadPoolExecutor() as pool,
    ):
        events_part.mkdir()
        # Compressing Parquet leaves Python free to draw the report.
        writing = [
            pool.submit(
                write_events, events_part / name, part, catalogue=catalogue.rows, columns=columns
            )
            for name, part in splits.items()
        ]
        counts = json.dumps(dataclasses.asdict(summary), indent=1, default=str)
        (events_part / "summary.json").write_text(counts + "\n", encoding="utf-8")
        write_parts(catalogue_part, catalogue.rows.iter_slices(ROW_GROUP_ROWS))
        schema_part.write_text(schema_text(schema), encoding="utf-8")
        write_report(report_part, dataset, summary=summary, splits=splits, catalogue=catalogue.rows)
        for part_written in writing:
            part_written.result()
    _log.info("%s", summary)
    return summary


def _tables(uris: Sequence[str], *, scratch: Path) -> list[Table]:
    return [open_table(path, where=where) for where, path in find_files(uris, scratch=scratch)]


def _dropped(events: Sequence[str], catalogue: CleanCatalogue) -> tuple[str, ...]:
    of_catalogue = (f"catalogue.{column}" for column in catalogue.dropped_columns)
    return (*(f"events.{column}" for column in events), *of_catalogue)


def _moment(as_of: str) -> dt.datetime | None:
    if not as_of:
        return None
    try:
        moment = dt.datetime.fromisoformat(as_of)
    except ValueError as error:
        raise InputError("as_of", repr(as_of), "an ISO date such as 2024-05-31") from error
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
