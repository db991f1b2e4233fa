"""The shop's reports: what a server takes, what it refuses, and what it counts."""

import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.protocol.feedback import MAX_FEEDBACK_BYTES, RevisionsOfService
from serving.protocol.own_revision import own_revision

GOOD = {"revision": "shop-00002", "impressions": 4, "clicks": 1}


def counted(client: httpx.Client, metric: str) -> dict[str, float]:
    """Return a counter's values by its last label."""
    return {
        sample.labels.get("recommended_by") or sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == f"shopflow_feedback_{metric}_total"
    }


def test_predictor_counts_reports_about_itself_and_about_others_and_names_itself(
    predictor: httpx.Client,
):
    body = {"signature_name": "recommend", "instances": [{"user": "u", "k": 3}]}
    answer = predictor.post("/v1/models/shop:predict", json=body)
    own = answer.headers["X-Shopflow-Revision"]
    for revision, clicks in ((own, 1), ("shop-00009", 0), ("shop-00009", 2)):
        report = {"revision": revision, "impressions": 3, "clicks": clicks}
        answer = predictor.post("/v1/feedback", json=report)
        assert (answer.status_code, answer.content) == (204, b"")
    assert counted(predictor, "impressions")[own] == 3
    assert counted(predictor, "clicks")[own] == 1
    assert counted(predictor, "impressions")["shop-00009"] == 6
    assert counted(predictor, "clicks")["shop-00009"] == 2


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"clicks": 5}, 400, "clicks: found 5, expected a number from 0 to 4"),
        ({"clicks": -1}, 400, "clicks: found -1"),
        ({"clicks": True}, 400, "clicks: found True"),
        ({"impressions": 0, "clicks": 0}, 400, "impressions: found 0, expected a number from 1"),
        ({"impressions": 1.5}, 400, "impressions: found 1.5"),
        ({"impressions": 10**9}, 400, "impressions: found 1000000000"),
        ({"revision": "Shop_1"}, 400, "revision: found 'Shop_1', expected a revision's name"),
        ({"revision": ["shop-00002"]}, 400, "revision: found"),
        ({"revision": "other-00001"}, 404, "found 'other-00001', expected one of this service"),
        ({"user": "u1"}, 400, "expected an object of ['clicks', 'impressions', 'revision']"),
        ({"revision": "x" * MAX_FEEDBACK_BYTES}, 413, "the body is over 4096 bytes"),
    ],
)
def test_predictor_refuses_what_is_no_report_in_one_line(
    predictor: httpx.Client, change: dict, status: int, message: str
):
    before = counted(predictor, "refused")
    answer = predictor.post("/v1/feedback", json={**GOOD, **change})
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"] and "\n" not in answer.json()["error"]
    reason = {400: "malformed", 404: "unknown_revision", 413: "too_large"}[status]
    assert counted(predictor, "refused")[reason] == before.get(reason, 0) + 1
    assert str(change.get("revision")) not in counted(predictor, "impressions")


def test_predictor_refuses_what_is_no_json(predictor: httpx.Client):
    for content, kind in ((b"{", "application/json"), (json.dumps(GOOD).encode(), "text/plain")):
        answer = predictor.post("/v1/feedback", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 400, answer.text


def test_a_server_counts_a_limited_number_of_other_revisions_and_always_its_own():
    known = RevisionsOfService("shop", own="shop-00001", limit=2)
    names = ["shop-00002", "shop-00003", "shop-00004", "shop-00002", "shop-00001", "shopping-1"]
    assert [known(name) for name in names] == [True, True, False, True, True, False]


def test_a_server_calls_itself_what_the_platform_calls_its_revision():
    pod = {"HOSTNAME": "shop-v0123456789-predictor-7d9f-x2x4z"}
    assert own_revision("shop", pod) == pod["HOSTNAME"]
    standard = pod | {"SHOPFLOW_PREDICTOR_NAME": "v0123456789"}
    assert own_revision("shop", standard) == "shop-v0123456789-predictor"
    assert own_revision("shop", {"K_REVISION": "shop-predictor-00002"}) == "shop-predictor-00002"
    assert own_revision("shop", {}) == ""
