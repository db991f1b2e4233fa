"""Bad input: one line that names file, column and what was expected, exit code 2, nothing left."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.errors import InputError
from components.ingest.read import MAX_FIELD_BYTES


def refused(shop: Any, *, match: str, **changes: Any) -> None:
    """Ingest must refuse with one line of `match`, and leave nothing behind."""
    before = sorted(shop.out.parent.rglob("*"))
    with pytest.raises(InputError, match=match) as caught:
        shop.ingest(**changes)
    assert "\n" not in str(caught.value)
    assert sorted(shop.out.parent.rglob("*")) == before


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize("column", ["who", "what", "when", "count", "paid"])
def test_a_missing_event_column(small_shop: Any, column: str) -> None:
    edit(small_shop.events, lambda text: text.replace(column, "other", 1))
    refused(small_shop, match=rf"events.csv, column {column}: found columns .*other.*, expected")


@pytest.mark.parametrize("column", ["id", "title", "kind"])
def test_a_missing_catalogue_column(small_shop: Any, column: str) -> None:
    edit(small_shop.catalogue, lambda text: text.replace(column, "other", 1))
    refused(small_shop, match=rf"catalogue.csv, column {column}: found columns .*other")


@pytest.mark.parametrize("which", ["events", "catalogue"])
def test_an_empty_file(small_shop: Any, which: str) -> None:
    getattr(small_shop, which).write_text("")
    refused(small_shop, match=f"{which}.csv: found an empty file, expected a header and rows")


@pytest.mark.parametrize("which", ["events", "catalogue"])
def test_a_header_without_rows(small_shop: Any, which: str) -> None:
    edit(getattr(small_shop, which), lambda text: text.splitlines()[0] + "\n")
    refused(small_shop, match=f"{which}.csv: found a header and no rows")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"PAR1" + bytes(500) + b"PAR1",
        lambda data: b"not parquet at all",
    ],
    ids=["cut in half", "zeros inside", "another kind"],
)
def test_a_corrupt_parquet(
    small_shop: Any, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "events.parquet"
    pl.read_csv(small_shop.events, try_parse_dates=True).write_parquet(path)
    path.write_bytes(damage(path.read_bytes()))
    refused(small_shop, match="events.parquet: found a broken file .*Parquet", events=str(path))


def test_a_truncated_gzip(small_shop: Any, tmp_path: Path) -> None:
    path = tmp_path / "events.csv.gz"
    data = gzip.compress(small_shop.events.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    refused(small_shop, match="events.csv.gz: found a broken file .*expected", events=str(path))


@pytest.mark.parametrize(
    ("which", "column", "old"), [("events", "who", "u2"), ("catalogue", "title", "green")]
)
def test_a_nul_byte(small_shop: Any, which: str, column: str, old: str) -> None:
    edit(getattr(small_shop, which), lambda text: text.replace(old, "u\0", 1))
    refused(small_shop, match=f"{which}.csv, column {column}: found a NUL byte")


@pytest.mark.parametrize(
    ("which", "column", "old"), [("events", "what", ",b,"), ("catalogue", "title", ",green pear,")]
)
def test_a_field_of_ten_megabytes(small_shop: Any, which: str, column: str, old: str) -> None:
    edit(getattr(small_shop, which), lambda text: text.replace(old, f",{'x' * 10_000_000},", 1))
    expected = f"expected at most {MAX_FIELD_BYTES:,}"
    refused(
        small_shop, match=f"{which}.csv, column {column}: found a field of 10,000,000 .*{expected}"
    )


def test_text_that_is_not_utf8(small_shop: Any) -> None:
    small_shop.events.write_bytes(small_shop.events.read_bytes().replace(b"u2,c", b"\xff\xfe,c"))
    refused(small_shop, match="events.csv: found a broken file .*utf-8")


def test_a_row_with_too_many_fields(small_shop: Any) -> None:
    edit(small_shop.events, lambda text: text.replace("u2@x\n", "u2@x,more,and more\n", 1))
    refused(small_shop, match="events.csv: found a broken file")


@pytest.mark.parametrize(("column", "old"), [("count", ",3,2.0"), ("paid", ",1,2.0")])
def test_a_number_that_is_none(small_shop: Any, column: str, old: str) -> None:
    new = old.replace("3", "three").replace("1,2.0", "1,free")
    edit(small_shop.events, lambda text: text.replace(old, new, 1))
    word = "three" if column == "count" else "free"
    refused(small_shop, match=f"events.csv, column {column}: found '{word}', expected a number")


@pytest.mark.parametrize(
    ("column", "values", "match"),
    [
        ("count", pl.Series([True] * 6), "found type Boolean, expected numbers"),
        (
            "when",
            pl.Series([[1]] * 6),
            "found type List.*expected timestamps, whole numbers or text",
        ),
        ("when", pl.Series(range(6)), "found times as numbers.*expected events.time_unit"),
        ("who", pl.Series([0.5] * 6), "found the number 0.5, expected text or whole numbers"),
        ("who", pl.Series([b"u"] * 6), "found type Binary, expected text or whole numbers"),
    ],
)
def test_a_parquet_column_of_the_wrong_type(
    small_shop: Any, tmp_path: Path, column: str, values: pl.Series, match: str
) -> None:
    path = tmp_path / "events.parquet"
    events = pl.read_csv(small_shop.events, try_parse_dates=True)
    events.with_columns(values.alias(column)).write_parquet(path)
    refused(small_shop, match=f"events.parquet, column {column}: {match}", events=str(path))


@pytest.mark.parametrize(
    "second", ["05/06/2024 12:00", "1717675200", "06.05.2024", "06-05-2024 12:00"]
)
def test_times_in_two_formats(small_shop: Any, second: str) -> None:
    edit(small_shop.events, lambda text: text.replace("2024-05-06 12:00:00", second))
    refused(
        small_shop,
        match=rf"events.csv, column when: found times in two formats, .*'{second}', expected all",
    )


def test_times_in_another_format_than_the_config_says(small_shop: Any) -> None:
    config = small_shop.config(
        lambda text: text.replace("catalogue:", "  time_format: '%d/%m/%Y %H:%M'\ncatalogue:", 1)
    )
    refused(small_shop, config=config, match=r"column when: .*2024-05-01.*expected all as %d/%m/%Y")


def test_a_text_that_is_no_time_at_all_is_counted(small_shop: Any) -> None:
    with small_shop.events.open("a") as file:
        file.write("u1,a,n/a,1,2.0,x\nu1,a,,1,2.0,x\n")
    assert small_shop.ingest().removed["unreadable_time"] == 2


def test_numbers_in_the_wrong_unit_are_impossible_and_the_error_says_so(small_shop: Any) -> None:
    text = "who,what,when,count,paid\nu1,a,1717675200000,1,2\n"  # milliseconds, said to be seconds
    small_shop.events.write_text(text)
    config = small_shop.config(
        lambda text: text.replace("catalogue:", "  time_unit: s\ncatalogue:", 1)
    )
    refused(
        small_shop, config=config, match="1 events of which cleaning leaves none.*impossible_time 1"
    )


def test_a_split_that_leaves_nothing(small_shop: Any) -> None:
    config = small_shop.config(lambda text: text.replace("test_days: 1", "test_days: 5"))
    refused(small_shop, config=config, match="key split: found no events left before .* for train")
    edit(small_shop.events, lambda text: text.replace("2024-05-05", "2024-05-04"))
    refused(small_shop, match="found no events left from 2024-05-05 .* for eval")


@pytest.mark.parametrize("uri", ["nowhere.csv", "no/where", "docs", " "])
def test_a_file_that_is_not_there(small_shop: Any, uri: str) -> None:
    where = uri.strip() or "input file"
    refused(small_shop, events=uri, match=f"{where}: found no such file, or no data in it")


def test_a_folder_without_data(small_shop: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    refused(
        small_shop, events=str(tmp_path / "folder"), match="folder: found no such file, or no data"
    )


def test_a_file_of_another_kind(small_shop: Any, tmp_path: Path) -> None:
    (tmp_path / "events.xlsx").write_text("x")
    refused(small_shop, events=str(tmp_path / "events.xlsx"), match=r"expected .*\.csv, \.csv\.gz")


def test_as_of_that_is_no_date(small_shop: Any) -> None:
    refused(small_shop, as_of="yesterday", match="as_of: found 'yesterday', expected an ISO date")


def test_an_old_output_survives_a_refused_run(small_shop: Any) -> None:
    small_shop.ingest()
    before = small_shop.rows()
    small_shop.events.write_text("")
    refused(small_shop, match="found an empty file")
    assert small_shop.rows().equals(before)


def test_the_shell_gets_one_line_and_exit_code_2(small_shop: Any, tmp_path: Path) -> None:
    from tests.ingest.conftest import CONFIG

    (tmp_path / "small.yaml").write_text(CONFIG.replace("test_days", "tset_days"))
    done = subprocess.run(
        [sys.executable, "-m", "components.ingest", "--dataset", str(tmp_path / "small.yaml"),
         "--events", str(small_shop.events), "--catalogue", str(small_shop.catalogue),
         "--out", str(small_shop.out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {tmp_path}/small.yaml: found unknown key split.tset_days "
        "(did you mean test_days?), expected one of eval_days, test_days\n"
    )
    assert not small_shop.out.exists()
