import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import InputError
from components.ingest.config import load_config
from components.ingest.ingest import IngestSummary, ingest
from components.ingest.read import find_files
from components.ingest.write import write_parts
from tests.shop import OUTLIER_QUANTITY, USER_BEHAVIOR, Dirt, Shop, make_shop

DIRT = Dirt(
    missing_ids=7,
    duplicates=11,
    impossible_times=13,
    bad_quantities=17,
    unknown_items=19,
    outliers=23,
)


def ingest_shop(shop: Shop, out: Path, **changes: Any) -> IngestSummary:
    arguments: dict[str, Any] = {
        "events_uris": [str(shop.behaviour)],
        "catalogue_uris": [str(shop.items)],
        "as_of": "",
        "hash_key": "",
        "events_dir": out / "events",
        "catalogue_dir": out / "catalogue",
        "schema_path": out / "schema.pbtxt",
        "report_path": out / "report.html",
    }
    config = load_config(USER_BEHAVIOR.read_text(), where=str(USER_BEHAVIOR))
    return ingest(config, **(arguments | changes))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[IngestSummary, Path]:
    folder = tmp_path_factory.mktemp("dirty")
    shop = make_shop(folder, seed=3, events=8_000, dirt=DIRT)
    return ingest_shop(shop, folder / "out"), folder / "out"


def test_every_rule_removes_exactly_the_rows_planted_for_it(
    dirty: tuple[IngestSummary, Path],
) -> None:
    summary, _ = dirty
    assert {rule: count for rule, count in summary.removed.items() if count} == {
        "missing_id": 7,
        "impossible_time": 13,
        "bad_quantity": 17,
        "not_in_catalogue": 19,
        "duplicate": 11,
    }
    assert summary.rows_in == 8_000 + 7 + 11 + 13 + 17 + 19
    assert sum(summary.rows_out.values()) == 8_000


def test_outliers_are_lowered_and_counted_not_removed(dirty: tuple[IngestSummary, Path]) -> None:
    summary, out = dirty
    # Good quantities are 1, 2 and 3 with 10 % of 3, so the 0.99 quantile is 3; MAD is 0.
    assert (summary.capped["quantity"].cap, summary.capped["quantity"].rows) == (3.0, 23)
    assert OUTLIER_QUANTITY > 3
    events = pl.read_parquet(out / "events" / "*" / "*.parquet")
    assert events["quantity"].max() == 3.0
    # Prices are even between 1 and 100: median + 10 robust deviations is far above all of them.
    assert summary.capped["price"].rows == 0


def test_splits_follow_each_other_and_end_with_the_last_day(
    dirty: tuple[IngestSummary, Path],
) -> None:
    summary, out = dirty
    spans = {
        split: pl.read_parquet(out / "events" / split / "*.parquet")["time"]
        for split in ("train", "eval", "test")
    }
    assert all(times.is_sorted() for times in spans.values())
    # 60 days from 2024-01-01 end with 2024-02-29; 7 days of test, 7 days of eval before.
    assert summary.periods.end == dt.datetime(2024, 3, 1)
    assert summary.periods.test_start == dt.datetime(2024, 2, 23)
    assert summary.periods.eval_start == dt.datetime(2024, 2, 16)
    assert spans["train"].max() < summary.periods.eval_start <= spans["eval"].min()  # type: ignore[operator]
    assert spans["eval"].max() < summary.periods.test_start <= spans["test"].min()  # type: ignore[operator]


def test_events_carry_the_features_of_their_item(dirty: tuple[IngestSummary, Path]) -> None:
    _, out = dirty
    events = pl.read_parquet(out / "events" / "test" / "*.parquet")
    catalogue = pl.read_parquet(out / "catalogue" / "*.parquet")
    assert events.columns == [
        "user", "item", "time", "event_type", "quantity", "price",
        "title", "category", "brand", "list_price",
    ]  # fmt: skip
    features = ["title", "category", "brand", "list_price"]
    joined = events.select("item").join(catalogue, on="item", how="left", maintain_order="left")
    assert joined.select(features).equals(events.select(features))
    assert events["price"].equals(events["list_price"], check_names=False)  # planted so


def test_the_catalogue_keeps_items_that_were_never_bought(
    dirty: tuple[IngestSummary, Path],
) -> None:
    summary, out = dirty
    catalogue = pl.read_parquet(out / "catalogue" / "*.parquet")
    assert len(catalogue) == catalogue["item"].n_unique() == summary.catalogue_rows == 200
    assert summary.items < 200


def test_parquet_is_what_arrow_readers_expect(dirty: tuple[IngestSummary, Path]) -> None:
    _, out = dirty
    schema = pq.read_schema(out / "events" / "train" / "part-00000.parquet")
    assert {
        name: str(schema.field(name).type) for name in ("user", "time", "quantity", "title")
    } == {
        "user": "string",  # not large_string or string_view
        "time": "timestamp[us]",
        "quantity": "double",
        "title": "string",
    }


def test_the_schema_says_type_presence_and_origin(small_shop: Any) -> None:
    small_shop.ingest()
    text = (small_shop.out / "schema.pbtxt").read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    features = {feature.name: feature for feature in schema.feature}
    assert list(features) == ["user", "item", "time", "quantity", "price", "title", "category"]
    tags = {name: list(feature.annotation.tag) for name, feature in features.items()}
    assert tags["user"] == tags["item"] == ["event", "id"]
    assert tags["time"] == tags["quantity"] == ["event"]
    assert tags["title"] == tags["category"] == ["catalogue"]
    assert features["time"].type == schema_pb2.INT
    assert features["time"].time_domain.integer_format == schema_pb2.TimeDomain.UNIX_MICROSECONDS
    assert features["quantity"].type == schema_pb2.FLOAT
    assert features["title"].HasField("natural_language_domain")
    assert not features["category"].HasField("natural_language_domain")
    # Item c has no kind, so category is optional; everything else is a required scalar.
    assert not features["category"].HasField("shape")
    assert all(features[name].HasField("shape") for name in features if name != "category")


def test_unnamed_columns_are_in_no_output_and_in_the_report(small_shop: Any) -> None:
    summary = small_shop.ingest()
    assert summary.dropped_columns == ("events.email", "catalogue.supplier")
    for path in small_shop.out.rglob("*.parquet"):
        assert b"u1@x" not in path.read_bytes()
        assert not {"email", "supplier"} & set(pq.read_schema(path).names)
    assert "events.email, catalogue.supplier" in (small_shop.out / "report.html").read_text()


def test_user_ids_are_replaced_by_a_keyed_hash(small_shop: Any) -> None:
    config = small_shop.config(lambda text: text + "clean: {hash_users: true}\n")
    small_shop.ingest(config=config, hash_key="a secret of the shop")
    first = small_shop.rows()["user"]
    small_shop.ingest(config=config, hash_key="a secret of the shop")
    again = small_shop.rows()["user"]
    small_shop.ingest(config=config, hash_key="another secret, same shop")
    other = small_shop.rows()["user"]
    assert first.to_list() == again.to_list()  # a returning user is known again
    assert first.n_unique() == 2 and not set(first) & {"u1", "u2"}
    assert not set(first) & set(other)
    for path in small_shop.out.rglob("*"):
        assert path.is_dir() or b"another secret" not in path.read_bytes()


@pytest.mark.parametrize("key", ["", "short"])
def test_hashing_without_a_real_secret_is_refused(small_shop: Any, key: str) -> None:
    config = small_shop.config(lambda text: text + "clean: {hash_users: true}\n")
    with pytest.raises(InputError, match="SHOPFLOW_HASH_KEY.*expected a secret of at least 16"):
        small_shop.ingest(config=config, hash_key=key)
    assert not small_shop.out.exists()


def test_events_at_or_after_as_of_are_removed_and_the_periods_end_there(small_shop: Any) -> None:
    summary = small_shop.ingest(as_of="2024-05-05T12:00:00")  # the fifth event's own time
    assert summary.removed["after_as_of"] == 2
    # The last event left is at noon of the 4th, so the test day is the 4th.
    assert summary.rows_out == {"train": 2, "eval": 1, "test": 1}
    assert summary.periods.end == dt.datetime(2024, 5, 5)


def test_k_core_counts_training_events_only(small_shop: Any) -> None:
    # Train: u1-a, u2-b, u1-b, u2-c. Of items, a and c have one training event: both go; what is
    # left is u2-b and u1-b. Item a's event in test and c's in eval stay.
    config = small_shop.config(lambda text: text + "clean: {min_events_per_item: 2}\n")
    summary = small_shop.ingest(config=config)
    assert summary.removed["rare_item"] == 2
    assert small_shop.rows()["item"].to_list() == ["b", "b", "c", "a"]


def test_k_core_goes_on_until_nothing_is_rare(small_shop: Any) -> None:
    # Each user has two training events. Items first lose a and c, then u1 and u2 have one event
    # each: both go, and training is empty.
    config = small_shop.config(
        lambda text: text + "clean: {min_events_per_item: 2, min_events_per_user: 2}\n"
    )
    with pytest.raises(InputError, match="no events left before 2024-05-05 00:00:00 for train"):
        small_shop.ingest(config=config)


def test_line_prices_are_divided_by_the_quantity(small_shop: Any) -> None:
    config = small_shop.config(
        lambda text: text.replace("price: paid}", "price: paid}\n  price_of: line")
    )
    small_shop.ingest(config=config)
    # Paid 2, 3, 3, 9, 9, 2 for quantities 1, 1, 2, 1, 1, 3. Train's caps: quantities 1 1 2 1 are
    # capped at their 0.99 quantile 2 (after the division), prices are below theirs, 9.
    rows = small_shop.rows()
    assert rows["price"].to_list() == pytest.approx([2.0, 3.0, 1.5, 9.0, 9.0, 2 / 3])
    assert rows["quantity"].to_list() == [1, 1, 2, 1, 1, 2]


def test_the_identity_column_tells_equal_looking_events_apart(small_shop: Any) -> None:
    twice = small_shop.events.read_text() + "u2,a,2024-05-06 12:00:00,3,2.0,second@line\n"
    small_shop.events.write_text(twice)
    assert small_shop.ingest().removed["duplicate"] == 1
    config = small_shop.config(
        lambda text: text.replace("price: paid}", "price: paid}\n  identity: [email]")
    )
    assert small_shop.ingest(config=config).removed["duplicate"] == 0


def test_a_missing_price_is_kept_and_makes_the_feature_optional(small_shop: Any) -> None:
    text = small_shop.events.read_text().replace("1,9.0,u2@x", "1,,u2@x")
    small_shop.events.write_text(text)
    small_shop.ingest()
    assert small_shop.rows()["price"].null_count() == 1
    schema = text_format.Parse((small_shop.out / "schema.pbtxt").read_text(), schema_pb2.Schema())
    price = next(feature for feature in schema.feature if feature.name == "price")
    assert not price.HasField("shape") and price.value_count.max == 1


def test_ratings_are_carried_and_a_missing_one_stays_missing(small_shop: Any) -> None:
    lines = small_shop.events.read_text().splitlines()
    stars = ["stars", "5", "", "inf", "3.5", "1", "4"]
    rated = [f"{line},{value}" for line, value in zip(lines, stars, strict=True)]
    small_shop.events.write_text("\n".join(rated) + "\n")
    config = small_shop.config(lambda text: text.replace("price: paid", "rating: stars"))
    summary = small_shop.ingest(config=config)
    assert summary.removed["bad_rating"] == 1
    assert small_shop.rows()["rating"].to_list() == [5.0, None, 3.5, 1.0, 4.0]


def test_of_two_catalogue_rows_for_an_item_the_first_is_kept(small_shop: Any) -> None:
    with small_shop.catalogue.open("a") as file:
        file.write("a,rotten apple,fruit,x\n,no id,fruit,x\n")
    summary = small_shop.ingest()
    assert summary.catalogue_removed == {"missing_id": 1, "duplicate_item": 1}
    catalogue = pl.read_parquet(small_shop.out / "catalogue" / "*.parquet")
    assert catalogue["title"].to_list() == ["red apple", "green pear", "oak chair"]


def test_running_again_replaces_the_outputs(small_shop: Any) -> None:
    small_shop.ingest()
    first = sorted(
        (path, path.read_bytes()) for path in small_shop.out.rglob("*") if path.is_file()
    )
    small_shop.ingest()
    again = sorted(
        (path, path.read_bytes()) for path in small_shop.out.rglob("*") if path.is_file()
    )
    assert first == again  # the same bytes, and no file more


def test_csv_gzip_parquet_and_a_folder_of_parts_read_the_same(
    small_shop: Any, tmp_path: Path
) -> None:
    import gzip

    small_shop.ingest()
    expected = small_shop.rows()
    text = small_shop.events.read_text()
    header, *lines = text.splitlines(keepends=True)
    (tmp_path / "events.csv.gz").write_bytes(gzip.compress(text.encode()))
    pl.read_csv(small_shop.events, try_parse_dates=True).write_parquet(tmp_path / "events.parquet")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.csv").write_text(header + "".join(lines[:3]))
    (tmp_path / "parts" / "2.csv").write_text(header + "".join(lines[3:]))
    (tmp_path / "parts" / "_SUCCESS").write_text("")
    for events in ("events.csv.gz", "events.parquet", "parts"):
        small_shop.ingest(events=str(tmp_path / events))
        assert small_shop.rows().equals(expected), events


def test_inputs_are_read_from_a_bucket(small_shop: Any, tmp_path: Path, gcs_bucket: str) -> None:
    from components.object_store import open_store

    open_store(f"gs://{gcs_bucket}/logs").upload(small_shop.events, "2024/events.csv")
    files = find_files([f"gs://{gcs_bucket}/logs"], scratch=tmp_path / "scratch")
    assert [name for name, _ in files] == [f"gs://{gcs_bucket}/logs/2024/events.csv"]
    for uri in (f"gs://{gcs_bucket}/logs", f"gs://{gcs_bucket}/logs/2024/events.csv"):
        summary = small_shop.ingest(events=uri)
        assert summary.rows_out == {"train": 4, "eval": 1, "test": 1}


def test_rows_are_written_in_groups_and_files_of_bounded_size(tmp_path: Path) -> None:
    group = pl.DataFrame({"item": ["a"] * 100_000})
    write_parts(
        tmp_path, iter([group] * 21)
    )  # 2.1 million rows: 20 groups fill a file of 2 million
    first, second = sorted(tmp_path.iterdir())
    assert pq.ParquetFile(first).metadata.num_row_groups == 20
    assert pq.ParquetFile(second).metadata.num_rows == 100_000


def test_the_report_asks_nothing_from_outside(dirty: tuple[IngestSummary, Path]) -> None:
    page = (dirty[1] / "report.html").read_text()
    for heading in (
        "What cleaning did",
        "Events per day",
        "The long tail of items",
        "Missing values",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<svg") == 3  # removed rows, events per day, long tail
    assert "No value is missing" in page
    # xmlns and the licence metadata of an SVG are names, not requests.
    assert "<script src" not in page and "<link" not in page and "<img" not in page
