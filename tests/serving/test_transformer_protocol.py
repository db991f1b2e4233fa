"""The transformer's process speaks as the predictor does, over HTTP."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.serving.transformer_client import (
    INFER,
    JSON,
    PREDICT,
    host,
    items,
    recommend,
    tensor,
    transformer,
    value,
)


@pytest.fixture(scope="module")
def plain(predictor: httpx.Client) -> Iterator[httpx.Client]:
    """A transformer that is told nothing but where the predictor is."""
    with transformer(host(predictor), "--revision", "t1") as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        recommend({"user": "1", "history": ["item4"], "k": 2}),
        recommend({}, {"history": ["item1"], "k": 1}, {"history": ["x", "item1", "item2"], "k": 3}),
        recommend({"k": 1000}),
        {"instances": [{"item": "item4"}, {"item": "no such"}]},
        {"signature_name": "serving_default", "instances": [{"item": "item4"}]},
    ],
)
def test_without_options_it_answers_as_the_predictor_does(
    plain: httpx.Client, predictor: httpx.Client, body: dict
):
    answer, direct = plain.post(PREDICT, json=body), predictor.post(PREDICT, json=body)
    assert (answer.status_code, answer.json()) == (200, direct.json())
    names = ("x-shopflow-revision", "x-shopflow-model", "content-type")
    assert [answer.headers[name] for name in names] == [direct.headers[name] for name in names]
    assert answer.headers["x-shopflow-revision"] == "shop-00001"
    assert re.fullmatch("shop/1/[0-9a-f]{64}", answer.headers["x-shopflow-model"])


@pytest.mark.parametrize(
    "body",
    [
        {
            "parameters": {"signature_name": "recommend"},
            "inputs": [tensor("history", ["item4", ""], [2, 1]), tensor("k", [2, 1], [2])],
        },
        {"inputs": [tensor("item", ["item4"], [1])]},
    ],
)
def test_v2_answers_have_the_predictors_shape(
    plain: httpx.Client, predictor: httpx.Client, body: dict
):
    answer, direct = (client.post(INFER, json={"id": "7", **body}) for client in (plain, predictor))
    assert (answer.status_code, answer.json()) == (200, direct.json())
    assert answer.headers["x-shopflow-model"] == direct.headers["x-shopflow-model"]


def test_readiness_and_metadata(plain: httpx.Client):
    assert plain.get("/v1/models/shop").json() == {"name": "shop", "ready": True}
    inputs = plain.get("/v2/models/shop").json()["inputs"]
    assert [entry["name"] for entry in inputs] == ["exclude", "history", "k", "user"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Unrecognized request format"),
        (b"[1]", "body: found a list, expected a JSON object"),
        (b"{}", "body: found keys [], expected 'instances'"),
        (b'{"instances": [{}]}', "instances[0].item: found nothing"),  # the predictor's own words
        (json.dumps(recommend()).encode(), "instances: found an empty list"),
        (json.dumps(recommend({"k": 0})).encode(), "instances[0].k: found 0, expected 1 to 1000"),
        (json.dumps(recommend({"user": 7})).encode(), "instances[0].user: found int '7'"),
        (json.dumps(recommend({"exclude": "a"})).encode(), "instances[0].exclude: found str"),
        (json.dumps(recommend({"age": 3})).encode(), "instances[0]: found 'age', expected"),
        (json.dumps(recommend({"user": "a\0"})).encode(), "found a NUL character"),
    ],
)
def test_bad_body_is_a_400_that_says_why_in_one_line(
    plain: httpx.Client, body: bytes, message: str
):
    answer = plain.post(PREDICT, content=body, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, message in error, "\n" in error) == (400, True, False), error


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b'"text"', b"NaN", b'{"inputs": null}', b'{"inputs": [null]}',
     b'{"inputs": [{"name":"k","shape":[1],"datatype":"FP16","data":[]}]}',
     b'{"parameters": {"signature_name": "recommend"}, "inputs": []}',
     b'{"signature_name": "recommend", "instances": {"a": 1}}',
     b'{"signature_name": ["recommend"], "instances": [{}]}',
     b'{"inputs": [{"name":"item","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}',
     b'{"inputs": [{"name":"item","shape":[1],"datatype":"INT64","data":[99999999999999999999]}]}'],
)  # fmt: skip
def test_garbage_is_never_a_500(plain: httpx.Client, path: str, body: bytes):
    answer = plain.post(path, content=body, headers=JSON)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("user", ["Zoë", "a\r\nX-Shopflow-Revision: x", " padded ", "名前"])
def test_any_text_is_a_user(plain: httpx.Client, user: str):
    assert len(items(plain, user=user, k=3)) == 3


def test_gate_refuses_large_bodies_and_the_model_repository(plain: httpx.Client):
    large = plain.post(PREDICT, content=b" " * (4 * 2**20 + 1), headers=JSON)
    assert large.status_code == 413
    assert plain.post("/v2/repository/models/shop/unload").status_code == 404
    assert items(plain, k=1) == ["item19"]


def test_requests_are_counted_by_status_code_and_revision(plain: httpx.Client):
    def count(code: int) -> float:
        labels = f'code="{code}",model_name="shop",revision="t1"'
        return value(plain, f"shopflow_transformer_requests_total{{{labels}}}")

    before = count(200), count(400)
    items(plain)
    plain.post(PREDICT, content=b"{}", headers=JSON)
    assert (count(200), count(400)) == (before[0] + 1, before[1] + 1)
    labels = 'model_name="shop",revision="t1"'
    assert value(plain, f"shopflow_transformer_request_seconds_count{{{labels}}}") >= count(200)
