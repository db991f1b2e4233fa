"""The predictor over HTTP: the protocols' answers, and a 400 that says why for everything else."""

import json
import re

import httpx
import pytest

PREDICT = "/v1/models/shop:predict"
INFER = "/v2/models/shop/infer"
JSON = {"Content-Type": "application/json"}


def recommend(*instances: dict) -> dict:
    return {"signature_name": "recommend", "instances": list(instances)}


def test_recommends_the_follower_of_the_last_item_then_the_best_scores(predictor: httpx.Client):
    # Scores are i + 1; the follower of item4 is item5 with 5 + 1 + 100 = 106, then item19 with 20.
    answer = predictor.post(PREDICT, json=recommend({"user": "1", "history": ["item4"], "k": 2}))
    assert answer.json() == {
        "predictions": [{"items": ["item5", "item19"], "scores": [106.0, 20.0]}]
    }


def test_fills_optional_inputs_and_pads_histories_of_different_length(predictor: httpx.Client):
    rows = recommend(
        {}, {"history": ["item1"], "k": 1}, {"history": ["x", "item1", "item2"], "k": 3}
    )
    first, second, third = predictor.post(PREDICT, json=rows).json()["predictions"]
    assert len(first["items"]) == 10  # k is 10 when it is not said
    assert second == {"items": ["item2"], "scores": [103.0]}  # 2 + 1 + 100
    assert third["items"] == ["item3", "item19", "item18"]


def test_k_above_the_number_of_items_returns_all_items(predictor: httpx.Client):
    row = predictor.post(PREDICT, json=recommend({"k": 1000})).json()["predictions"][0]
    assert sorted(row["items"]) == sorted(f"item{i}" for i in range(20))


def test_single_output_goes_without_its_name_as_in_tensorflow_serving(predictor: httpx.Client):
    answer = predictor.post(PREDICT, json={"instances": [{"item": "item4"}, {"item": "no such"}]})
    assert answer.json() == {"predictions": [5.0, 0.0]}  # 4 + 1; unknown items score 0


def test_v2_answers_like_v1(predictor: httpx.Client):
    inputs = [
        {"name": "history", "shape": [2, 1], "datatype": "BYTES", "data": ["item4", ""]},
        {"name": "k", "shape": [2], "datatype": "INT64", "data": [2, 1]},
    ]
    body = {"id": "7", "parameters": {"signature_name": "recommend"}, "inputs": inputs}
    answer = predictor.post(INFER, json=body).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert (answer["id"], outputs["items"]["shape"]) == ("7", [2, 2])
    assert outputs["items"]["data"] == ["item5", "item19", "item19", ""]
    assert outputs["scores"]["data"][:3] == [106.0, 20.0, 20.0]


def test_readiness_and_metadata_of_both_protocols(predictor: httpx.Client):
    assert predictor.get("/v1/models/shop").json() == {"name": "shop", "ready": True}
    inputs = predictor.get("/v2/models/shop").json()["inputs"]
    assert [entry["name"] for entry in inputs] == ["history", "item", "user"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Unrecognized request format"),
        (b"[1]", "body: found a list, expected a JSON object"),
        (b"{}", "body: found keys [], expected 'instances'"),
        (b'{"instances": []}', "instances: found an empty list, expected a list of rows"),
        (b'{"instances": {"user": "1"}}', 'Expected "instances" to be a list'),
        (b'{"instances": [3]}', "instances[0]: found int '3', expected an object"),
        (b'{"instances": [{}]}', "instances[0].item: found nothing, expected a string"),
        (b'{"signature_name": "train", "instances": [{}]}', "signature_name: found str 'train'"),
        (b'{"signature_name": ["x"], "instances": [{}]}', "signature_name: found a list"),
        (json.dumps(recommend({"user": 7})).encode(), "instances[0].user: found int '7'"),
        (json.dumps(recommend({"user": None})).encode(), "instances[0].user: found null"),
        (json.dumps(recommend({"history": "item1"})).encode(), "instances[0].history: found str"),
        (json.dumps(recommend({"history": [["a"]]})).encode(), "history[0]: found a list"),
        (json.dumps(recommend({"k": 0})).encode(), "instances[0].k: found 0, expected 1 to 1000"),
        (json.dumps(recommend({"k": 1001})).encode(), "expected 1 to 1000"),
        (json.dumps(recommend({"k": True})).encode(), "instances[0].k: found a boolean"),
        (json.dumps(recommend({"k": 2.5})).encode(), "instances[0].k: found float '2.5'"),
        (json.dumps(recommend({"k": 2**70})).encode(), "instances[0].k: found"),
        (json.dumps(recommend({"user": "a\0b"})).encode(), "found a NUL character"),
        (json.dumps(recommend({"user": "a" * 10_001})).encode(), "found 10001 characters"),
        (json.dumps(recommend({"history": ["a"] * 1001})).encode(), "found 1001 values"),
        (json.dumps(recommend(*[{}] * 257)).encode(), "instances: found 257 rows"),
        (json.dumps(recommend({"age": 3})).encode(), "instances[0]: found 'age', expected"),
        (b"[" * 100_000, "Unrecognized request format"),
        (b"\xff\xfe", "Unrecognized request format"),
    ],
)
def test_bad_v1_body_is_a_400_that_says_why_in_one_line(
    predictor: httpx.Client, body: bytes, message: str
):
    answer = predictor.post(PREDICT, content=body, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, message in error, "\n" in error) == (400, True, False), error


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "expected the same number, at least one"),
        ([{"name": "k", "shape": [1], "datatype": "INT64", "data": ["x"]}], "found str 'x'"),
        ([{"name": "k", "shape": [3], "datatype": "INT64", "data": [1]}], "found 1 values"),
        ([{"name": "k", "shape": [-1], "datatype": "INT64", "data": [1]}], "found 1 values"),
        ([{"name": "k", "shape": [1], "datatype": "BYTES", "data": ["1"]}], "expected INT64"),
        ([{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["1"]}], "found 'x'"),
        ([{"name": "user", "shape": [1], "datatype": "BYTES", "data": ["\ud800"]}], ""),
        ([{"name": "user", "shape": [1], "datatype": "FP16", "data": [1]}], "FP16"),
        ([{"name": "user"}], "Field required"),
        ([{"name": "k", "shape": [1], "datatype": "INT64", "data": [10**400]}], "64-bit"),
        # A shape is cheap to send: of rows without values, and of factors to multiply.
        ([{"name": "history", "shape": [10**5, 0], "datatype": "BYTES", "data": []}], "most 256"),
        ([{"name": "k", "shape": [9] * 1000, "datatype": "INT64", "data": [1]}], "expected [rows]"),
        ("no list", "valid list"),
    ],
)
def test_bad_v2_body_is_a_400_that_says_why(predictor: httpx.Client, inputs: object, message: str):
    body = {"parameters": {"signature_name": "recommend"}, "inputs": inputs}
    answer = predictor.post(INFER, content=json.dumps(body).encode(), headers=JSON)
    assert (answer.status_code, message in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/cloudevents+json"}, 200),
        ({"Content-Type": "application/json", "ce-specversion": "1.0"}, 400),
        ({"Content-Type": "application/json", "Inference-Header-Content-Length": "x"}, 400),
    ],
)
def test_only_json_is_read(predictor: httpx.Client, headers: dict, code: int):
    body = json.dumps(recommend({"user": "1"})).encode()
    answer = predictor.post(PREDICT, content=body, headers=headers)
    assert answer.status_code == code, answer.text


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'"text"',
        b"1e999",
        b"NaN",
        b'{"specversion": "1.0"}',
        b'{"specversion":"1.0","id":"1","source":"a","type":"b","time":"x"}',
        b'{"specversion":"1.0","id":"1","source":"a","type":"b","time":"x","data":5}',
        b'{"inputs": null}',
        b'{"inputs": [null]}',
        b'{"inputs": [{"name":"k","shape":[1],"datatype":"FP16","data":[]}]}',
        b'{"instances": null, "inputs": {"a": [1]}}',
    ],
)
def test_garbage_is_never_a_500(predictor: httpx.Client, path: str, body: bytes):
    assert predictor.post(path, content=body, headers=JSON).status_code == 400


def test_body_over_the_limit_is_refused_before_it_is_read(predictor: httpx.Client):
    assert predictor.post(PREDICT, content=b" " * (4 * 2**20 + 1), headers=JSON).status_code == 413


def test_endless_body_without_a_length_is_cut_off(predictor: httpx.Client):
    chunks = (b" " * 2**20 for _ in range(5))
    assert predictor.post(PREDICT, content=chunks, headers=JSON).status_code == 400


def test_unknown_model_is_a_404(predictor: httpx.Client):
    assert predictor.post("/v1/models/x:predict", json=recommend({})).status_code == 404


def test_a_user_cannot_unload_the_model(predictor: httpx.Client):
    assert predictor.post("/v2/repository/models/shop/unload").status_code == 404
    assert predictor.get("/v1/models/shop").json()["ready"] is True


def test_metrics_count_requests_by_status_code_and_revision(predictor: httpx.Client):
    def count(code: int) -> float:
        labels = f'code="{code}",model_name="shop",revision="shop-00001"'
        pattern = rf"shopflow_predictor_requests_total{{{labels}}} (\S+)"
        found = re.search(pattern, predictor.get("/metrics").text)
        return float(found[1]) if found else 0.0

    before = count(200), count(400)
    predictor.post(PREDICT, json=recommend({}))
    predictor.post(PREDICT, json={})
    predictor.get("/v1/models/shop")  # not an inference, so not counted
    assert (count(200), count(400)) == (before[0] + 1, before[1] + 1)
