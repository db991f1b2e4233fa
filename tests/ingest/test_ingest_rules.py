"""Single rules and conversions, on a handful of values each."""

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.clean import cap_outliers, k_core, upper_cap, without_duplicates
from components.ingest.columns import as_number, as_text, as_time
from components.ingest.config import Outliers
from components.ingest.privacy import hash_users
from components.ingest.split import find_periods
from components.ingest.write import all_or_nothing


def test_the_cap_is_the_quantile_when_most_values_are_equal() -> None:
    # 1 ninety times, 2 nine times, 500 once: median 1, MAD 0; the 0.98 quantile is a 2.
    values = pl.Series([1.0] * 90 + [2.0] * 9 + [500.0])
    assert upper_cap(values, Outliers(quantile=0.98, deviations=10)) == 2.0


def test_the_cap_is_the_robust_spread_when_values_are_spread_out() -> None:
    # 0 … 100: median 50, absolute deviations 0 … 50 with median 25; 50 + 3 × 1.4826 × 25 = 161.195.
    values = pl.Series(range(101)).cast(pl.Float64)
    assert upper_cap(values, Outliers(quantile=0.9, deviations=3)) == pytest.approx(161.195)


def test_there_is_no_cap_without_values() -> None:
    assert upper_cap(pl.Series([None, None], dtype=pl.Float64), Outliers()) is None


def test_caps_come_from_the_training_period_and_hold_for_all_periods() -> None:
    rows = pl.DataFrame(
        {"time": [dt.datetime(2024, 1, day) for day in (1, 2, 3, 4)], "quantity": [1.0, 1, 1, 50]}
    )
    capped, what = cap_outliers(rows, Outliers(), train_end=dt.datetime(2024, 1, 4))
    assert capped["quantity"].to_list() == [1, 1, 1, 1]
    assert (what["quantity"].cap, what["quantity"].rows) == (1.0, 1)


def test_k_core_counts_each_row_under_the_rule_that_removed_it() -> None:
    # Item 9 is bought once: u3's second event goes (rare_item), so u3 has one event left and goes
    # (rare_user), so item 1 has two events left, and that is enough.
    rows = pl.DataFrame(
        {"user": ["u1", "u1", "u2", "u2", "u3", "u3"], "code": [1, 2, 1, 2, 1, 9]},
        schema_overrides={"code": pl.UInt32},
    )
    kept, removed = k_core(rows, per_user=2, per_item=2)
    assert kept["user"].to_list() == ["u1", "u1", "u2", "u2"]
    assert removed == {"rare_user": 1, "rare_item": 1}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_after_k_core_nothing_is_rare_and_every_row_is_accounted_for(
    pairs: list[tuple[int, int]], per_user: int, per_item: int
) -> None:
    rows = pl.DataFrame(pairs, schema={"user": pl.Int64, "code": pl.Int64}, orient="row")
    kept, removed = k_core(rows, per_user=per_user, per_item=per_item)
    assert len(kept) + sum(removed.values()) == len(rows)
    assert all(count >= per_user for count in kept["user"].value_counts()["count"])
    assert all(count >= per_item for count in kept["code"].value_counts()["count"])


def test_of_equal_rows_the_first_stays_where_it_is() -> None:
    rows = pl.DataFrame({"user": ["a", "b", "a", "c"], "identity": [1, 1, 1, 1]})
    assert without_duplicates(rows)["user"].to_list() == ["a", "b", "c"]
    told_apart = rows.with_columns(identity=pl.Series([1, 1, 2, 1]))
    assert without_duplicates(told_apart)["user"].to_list() == ["a", "b", "a", "c"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series(["007", " x ", "", "  ", None]), ["007", "x", None, None, None]),
        (pl.Series([7, None]), ["7", None]),
        (pl.Series([7.0, None, float("nan")]), ["7", None, None]),  # whole numbers with a gap
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_ids_become_text_and_blanks_are_missing(values: pl.Series, expected: list[Any]) -> None:
    assert as_text(values, where="x").to_list() == expected


def test_numbers_are_read_from_text_and_blanks_are_missing() -> None:
    values = pl.Series(["1", " 2.5 ", "", None, "1e3", "-4", "NaN"])
    assert as_number(values, where="x").to_list() == [1.0, 2.5, None, None, 1000.0, -4.0, None]


NOON = dt.datetime(2024, 5, 1, 12)


@pytest.mark.parametrize(
    ("values", "unit", "text_format"),
    [
        (pl.Series([NOON]), None, None),
        (pl.Series([NOON], dtype=pl.Datetime("ns")), None, None),
        (pl.Series([NOON.replace(tzinfo=dt.UTC)]).dt.convert_time_zone("Asia/Tokyo"), None, None),
        (pl.Series([1_714_564_800]), "s", None),
        (pl.Series([1_714_564_800_000]), "ms", None),
        (pl.Series(["1714564800000000"]), "us", None),
        (pl.Series([1_714_564_800.0]), "s", None),
        (pl.Series(["2024-05-01 12:00:00"]), None, None),
        (pl.Series(["2024-05-01T12:00:00.000"]), None, None),
        (pl.Series(["2024-05-01T12:00:00Z"]), None, None),
        (pl.Series(["2024-05-01T14:00:00+02:00"]), None, None),
        (pl.Series(["2024-05-01T12:00"]), None, None),
        (pl.Series(["2024-05-01 12:00"]), None, None),
        (pl.Series(["2024-05-01T12:00Z"]), None, None),
        (pl.Series(["2024-05-01 14:00+0200"]), None, None),
        (pl.Series(["2024-05-01 12:00:00.000 UTC"]), None, None),
        (pl.Series(["01.05.2024 12h00"]), None, "%d.%m.%Y %Hh%M"),
    ],
)
def test_every_way_to_write_noon_is_noon(
    values: pl.Series, unit: str | None, text_format: str | None
) -> None:
    times = as_time(values, unit=unit, text_format=text_format, where="x")
    assert times.dtype == pl.Datetime("us")
    assert times.to_list() == [NOON]


def test_periods_end_with_the_last_day_or_with_an_earlier_as_of(small_shop: Any) -> None:
    split = small_shop.config().split  # one day each
    periods = find_periods(NOON, split, as_of=None)
    assert periods.end == dt.datetime(2024, 5, 2)
    assert (periods.eval_start, periods.test_start) == (
        dt.datetime(2024, 4, 30),
        dt.datetime(2024, 5, 1),
    )
    assert find_periods(NOON, split, as_of=dt.datetime(2024, 5, 1, 18)).end.hour == 18
    assert find_periods(NOON, split, as_of=dt.datetime(2024, 6, 1)).end == periods.end


def test_a_hash_depends_on_the_id_and_the_key_and_on_nothing_else() -> None:
    users = pl.Series(["a", "b", "a"])
    first = hash_users(users, key="0123456789abcdef").to_list()
    assert first[0] == first[2] != first[1]
    assert all(len(text) == 32 for text in first)  # 16 bytes in hex
    assert hash_users(pl.Series(["b"]), key="0123456789abcdef")[0] == first[1]
    assert hash_users(pl.Series(["b"]), key="0123456789abcdeX")[0] != first[1]


def test_outputs_appear_together_or_not_at_all(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "deep" / "file"
    leftover = tmp_path / ".folder.partial"  # of a run that was killed
    leftover.mkdir()
    (leftover / "old").write_text("old")
    with pytest.raises(KeyError), all_or_nothing([folder, file]) as (folder_part, file_part):
        folder_part.mkdir()
        file_part.write_text("half")
        raise KeyError
    assert not folder.exists() and not file.exists() and not leftover.exists()
    with all_or_nothing([folder, file]) as (folder_part, file_part):
        folder_part.mkdir()
        file_part.write_text("whole")
    assert folder.is_dir() and file.read_text() == "whole"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]
