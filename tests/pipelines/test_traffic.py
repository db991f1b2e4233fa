"""The replayed visits: real purchases after a day, with what was known before it."""

import datetime

import polars as pl
import pytest

from pipelines.demo import complete_journey_folder
from pipelines.traffic import held_out_visits, recommend_body

START = datetime.date(2017, 12, 4)


@pytest.fixture(scope="module")
def transactions(tmp_path_factory):
    """Fifty households of Complete Journey, all their purchases."""
    path = tmp_path_factory.mktemp("journey") / "transactions.parquet"
    (
        pl.scan_parquet(complete_journey_folder() / "transactions.parquet")
        .filter(pl.col("household_id") <= 50)
        .sink_parquet(path)
    )
    return path


def test_history_is_before_the_day_and_purchases_are_within_the_span(transactions):
    visits = held_out_visits(transactions, start=START, days=7, history_length=20)
    log = pl.read_parquet(transactions)
    day = pl.col("transaction_timestamp").dt.date()
    week = log.filter(day.is_between(START, START + datetime.timedelta(days=6)))
    assert {visit.user for visit in visits} == set(week["household_id"].cast(pl.String))
    for visit in visits:
        own = log.filter(pl.col("household_id").cast(pl.String) == visit.user)
        before = own.filter(day < START).sort("transaction_timestamp", maintain_order=True)
        assert list(visit.history) == before["product_id"].cast(pl.String)[-20:].to_list()
        bought = week.filter(pl.col("household_id").cast(pl.String) == visit.user)["product_id"]
        assert visit.bought == set(bought.cast(pl.String))


def test_a_request_carries_user_history_and_k(transactions):
    visit = held_out_visits(transactions, start=START, days=7, history_length=3)[0]
    assert recommend_body(visit, k=5) == {
        "signature_name": "recommend",
        "instances": [{"user": visit.user, "history": list(visit.history), "k": 5}],
    }
