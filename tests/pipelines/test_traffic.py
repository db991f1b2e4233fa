"""The replayed visits: real purchases after a day, with what was known before it."""

import datetime
import json
import shlex
import time
from collections import Counter

import polars as pl
import pytest

from pipelines.demo import complete_journey_folder
from pipelines.traffic import TrafficReplay, curl_line, recommend_body
from pipelines.visits import Visit, held_out_visits
from serving.platform.local import LocalPlatform
from tests.serving.stub_service import stub_service

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


def test_each_day_of_a_user_is_a_visit_with_what_was_bought_that_day_and_before_it(transactions):
    visits = held_out_visits(transactions, start=START, days=7, history_length=20)
    log = pl.read_parquet(transactions).select(
        user=pl.col("household_id").cast(pl.String),
        item=pl.col("product_id").cast(pl.String),
        time="transaction_timestamp",
        day=pl.col("transaction_timestamp").dt.date(),
    )
    log = log.sort("time", maintain_order=True)
    week = log.filter(pl.col("day").is_between(START, START + datetime.timedelta(days=6)))
    expected = {}
    for (user, day), rows in week.group_by("user", "day", maintain_order=True):
        own = log.filter(pl.col("user") == user)
        before = own.filter(pl.col("day") < day)["item"][-20:].to_list()
        expected[user, rows["time"].min()] = Visit(user, tuple(before), frozenset(rows["item"]))
    assert sorted(expected.values(), key=repr) == sorted(visits, key=repr)
    assert max(Counter(visit.user for visit in visits).values()) > 1
    begun = {visit: time for (_, time), visit in expected.items()}
    assert [begun[visit] for visit in visits] == sorted(begun[visit] for visit in visits)


def test_a_request_carries_user_history_and_k(transactions):
    visit = held_out_visits(transactions, start=START, days=7, history_length=3)[0]
    assert recommend_body(visit, k=5) == {
        "signature_name": "recommend",
        "instances": [{"user": visit.user, "history": list(visit.history), "k": 5}],
    }


def test_the_line_to_copy_holds_any_users_name():
    body = recommend_body(Visit("o'neil $HOME", (), frozenset()))
    *_, sent = shlex.split(curl_line("http://127.0.0.1:1", "shop", body))
    assert json.loads(sent) == body


def test_what_a_user_bought_of_an_answer_is_reported_as_a_click_on_it(tmp_path, monkeypatch):
    # A company's proxy, which knows nothing of this machine, is left out.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    platform = LocalPlatform(tmp_path, namespace="default")
    try:
        platform.deploy(stub_service())  # answers the item "a"
        platform.set_traffic("shop", 100)
        name = platform.promote("shop").stable.name
        visits = [Visit("one", (), frozenset("ab")), Visit("two", (), frozenset("b"))]
        where = f"local:{tmp_path}"
        with TrafficReplay(lambda: visits, platform=where, service="shop") as replay:
            deadline = time.monotonic() + 60
            while sum(replay.reports.values()) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        reported = platform.metrics("shop")[name].feedback
    finally:
        platform.delete("shop")
    assert set(replay.reports) == {204}
    assert reported.clicks == replay.hits
    assert reported.impressions == replay.responses[200]
    assert abs(2 * reported.clicks - reported.impressions) <= 1  # every other visit bought it
