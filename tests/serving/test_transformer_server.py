"""The transformer's process before the real predictor's, over HTTP."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serving.redis_process import running_redis
from tests.serving.running_server import ROOT, running_server

PREDICT, INFER = "/v1/models/shop:predict", "/v2/models/shop/infer"
JSON = {"Content-Type": "application/json"}


def recommend(*instances: dict) -> dict:
    return {"signature_name": "recommend", "instances": list(instances)}


def tensor(name: str, values: list, shape: list[int]) -> dict:
    kind = "INT64" if name == "k" else "BYTES"
    return {"name": name, "shape": shape, "datatype": kind, "data": values}


def host(client: httpx.Client) -> str:
    return f"{client.base_url.host}:{client.base_url.port}"


def transformer(predictor_host: str, *options: str, **environment: str):
    named = ["--model_name", "shop", "--predictor_host", predictor_host]
    return running_server("serving.transformer", *named, *options, **environment)


def write_items(file: Path, *, sold_out: set[int]) -> None:
    """item0 … item19: even ones are tea, odd ones jam."""
    numbers = range(20)
    table = pa.table(
        {
            "item": [f"item{n}" for n in numbers],
            "department": ["tea" if n % 2 == 0 else "jam" for n in numbers],
            "stock": [0 if n in sold_out else 5 for n in numbers],
        }
    )
    pq.write_table(table, file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)


def value(client: httpx.Client, line: str) -> float:
    """Return a metric; `line` is its name and labels."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def plain(predictor: httpx.Client) -> Iterator[httpx.Client]:
    """A transformer that is told nothing but where the predictor is."""
    with transformer(host(predictor), "--revision", "t1") as client:
        yield client


@pytest.fixture(scope="module")
def shop_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "events").mkdir()
    rows = {"user": ["u1", "u1", "u2"], "item": ["item7", "item3", "item9"], "time": [1, 2, 1]}
    pq.write_table(pa.table(rows), folder / "events" / "part-0.parquet")
    write_items(folder / "items.parquet", sold_out={19})
    return folder


@pytest.fixture(scope="module")
def shop(predictor: httpx.Client, shop_files: Path) -> Iterator[httpx.Client]:
    """A transformer with files, filters and a cache in memory."""
    options = [
        "--history", str(shop_files / "events"), "--filter_bought",
        "--items", str(shop_files / "items.parquet"), "--stock_column", "stock",
        "--cache", "memory", "--reload_s", "0.1",
    ]  # fmt: skip
    with transformer(host(predictor), *options) as client:
        yield client


def items(client: httpx.Client, **instance: object) -> list[str]:
    answer = client.post(PREDICT, json=recommend(instance))
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["items"]


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
def test_any_text_is_a_user(plain: httpx.Client, shop: httpx.Client, user: str):
    for client in (plain, shop):
        assert len(items(client, user=user, k=3)) == 3


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


def test_history_is_looked_up_when_the_request_has_none(shop: httpx.Client):
    # u1 saw item7, then item3: item4 follows, with 4 + 1 + 100. item19 is sold out.
    answer = shop.post(PREDICT, json=recommend({"user": "u1", "k": 2})).json()
    assert answer == {"predictions": [{"items": ["item4", "item18"], "scores": [105.0, 19.0]}]}
    assert items(shop, user="u1", history=["item5"], k=2) == ["item6", "item18"]
    assert items(shop, user="nobody", k=2) == ["item18", "item17"]
    assert items(shop, k=2) == ["item18", "item17"]


def test_bought_excluded_and_sold_out_items_are_left_out_and_counted(shop: httpx.Client):
    def removed() -> list[float]:
        start = 'shopflow_transformer_filtered_items_total{model_name="shop",reason='
        return [
            value(shop, f'{start}"{reason}"}}') for reason in ("out_of_stock", "bought", "excluded")
        ]

    before = removed()
    # Bought: item7 and item3 by the look-up, item17 by the request. item18 follows item17.
    found = items(shop, user="u1", history=["item17"], exclude=["item18", "item0"], k=20)
    assert found == [f"item{n}" for n in range(16, 0, -1) if n not in (3, 7)]
    assert [now - then for now, then in zip(removed(), before, strict=True)] == [1, 3, 2]


def test_fewer_items_than_asked_for_are_answered_and_counted(shop: httpx.Client):
    name = 'shopflow_transformer_short_answers_total{model_name="shop"}'
    before = value(shop, name)
    assert len(items(shop, k=19)) == 19
    assert value(shop, name) == before
    assert len(items(shop, k=20)) == 19
    assert value(shop, name) == before + 1


def test_v2_pads_short_rows_as_the_predictor_does(shop: httpx.Client):
    inputs = [
        tensor("user", ["u2", ""], [2]),
        tensor("k", [1, 2], [2]),
        tensor("exclude", ["item18", "", "item16", "item18"], [2, 2]),
    ]
    body = {"parameters": {"signature_name": "recommend"}, "inputs": inputs}
    outputs = {o["name"]: o for o in shop.post(INFER, json=body).json()["outputs"]}
    # u2 saw item9: item10 follows. Row 2: item19 sold out, item18 and item16 excluded.
    assert outputs["items"]["data"] == ["item10", "", "item17", "item15"]
    assert outputs["items"]["shape"] == outputs["scores"]["shape"] == [2, 2]
    assert outputs["scores"]["data"][0] == 111.0


def test_v2_answer_of_nothing_is_an_empty_tensor(shop: httpx.Client):
    everything = [f"item{n}" for n in range(20)]
    assert items(shop, exclude=everything) == []
    body = {
        "parameters": {"signature_name": "recommend"},
        "inputs": [tensor("exclude", everything, [1, 20])],
    }
    answer = shop.post(INFER, json=body)
    assert answer.status_code == 200, answer.text
    assert [output["data"] for output in answer.json()["outputs"]] == [[], []]


def cached(client: httpx.Client, result: str) -> float:
    return value(client, f'shopflow_transformer_cache_total{{model_name="shop",result="{result}"}}')


def test_same_question_is_answered_from_the_cache_and_a_sold_out_item_still_leaves_the_answer(
    shop: httpx.Client, predictor: httpx.Client, shop_files: Path
):
    def asked() -> float:
        labels = 'code="200",model_name="shop",revision="shop-00001"'
        return value(predictor, f"shopflow_predictor_requests_total{{{labels}}}")

    question = {"history": ["item11"], "k": 2}
    assert items(shop, **question) == ["item12", "item18"]
    before, hits = asked(), cached(shop, "hit")
    assert items(shop, **question) == ["item12", "item18"]
    write_items(shop_files / "items.parquet", sold_out={19, 12})
    until(lambda: items(shop, **question) == ["item18", "item17"])
    write_items(shop_files / "items.parquet", sold_out={19})
    until(lambda: items(shop, **question) == ["item12", "item18"])
    assert asked() == before
    assert cached(shop, "hit") >= hits + 3


def test_rows_are_cached_one_by_one(shop: httpx.Client):
    items(shop, history=["item1"], k=3)
    hits, misses = cached(shop, "hit"), cached(shop, "miss")
    rows = recommend({"history": ["item1"], "k": 3}, {"history": ["item2"], "k": 1})
    first, second = shop.post(PREDICT, json=rows).json()["predictions"]
    assert (first["items"][0], second["items"]) == ("item2", ["item3"])
    assert (cached(shop, "hit"), cached(shop, "miss")) == (hits + 1, misses + 1)


def test_file_that_cannot_be_reloaded_is_counted_and_the_old_one_stays(
    shop: httpx.Client, shop_files: Path
):
    name = 'shopflow_transformer_lookup_errors_total{model_name="shop",of="items"}'
    before = value(shop, name)
    (shop_files / "items.parquet").write_bytes(b"broken")
    until(lambda: value(shop, name) > before)
    assert items(shop, k=1) == ["item18"]
    write_items(shop_files / "items.parquet", sold_out={19})


def test_cap_and_diversity_with_everything_in_redis(predictor: httpx.Client):
    """Redis is at the same time the histories, the features and the cache."""
    with running_redis("s3cret") as redis:
        for n in range(20):
            redis.client.hset(
                f"shopflow:item:item{n}",
                mapping={
                    "department": "tea" if n % 2 == 0 else "jam",
                    "stock": 0 if n == 19 else 5,
                },
            )
        redis.client.rpush("shopflow:history:u1", "item7", "item3")
        options = [
            "--history", "env:SHOP_REDIS", "--items", "env:SHOP_REDIS", "--cache", "env:SHOP_REDIS",
            "--stock_column", "stock", "--category_column", "department", "--category_cap", "2",
            "--mmr_lambda", "0.5", "--redis_timeout_s", "5",
        ]  # fmt: skip
        url = redis.url.replace("127", ":s3cret@127")
        with transformer(host(predictor), *options, SHOP_REDIS=url) as client:
            # Candidates: item18 (relevance 1), 17 (17/18), 16, … 0. 1st item18 (tea); 2nd item17:
            # 0.5·17/18, while item16 has 0.5·16/18 - 0.5; then both categories are met, and the
            # best of the rest comes: item16, then item15. Two of each category is all.
            assert items(client, k=10) == ["item18", "item17", "item16", "item15"]
            # item4 (tea) follows item3; its 105 leaves 19 / 105 and less to the others.
            assert items(client, user="u1", k=2) == ["item4", "item17"]
            assert cached(client, "miss") == 2
            assert items(client, user="u1", k=2) == ["item4", "item17"]
            assert cached(client, "hit") == 1
            assert len(redis.client.keys("shopflow:answer:shop:*")) == 2
            redis.process.kill()
            redis.process.wait(10)
            # Without features the filters cannot keep their word, so there is no answer.
            refused = client.post(PREDICT, json=recommend({"user": "u1", "k": 2}))
            assert refused.status_code == 503
            assert "history: Redis cannot be asked" in refused.json()["error"]
            assert "s3cret" not in refused.text


def test_cache_that_is_down_is_a_miss_and_lookups_may_be_told_to_go_without(
    predictor: httpx.Client,
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
        options = ["--cache", nobody, "--items", nobody, "--history", nobody, "--stock_column"]
        unfiltered = ["stock", "--on_lookup_error", "unfiltered"]
        with transformer(host(predictor), *options, *unfiltered) as client:
            for _ in range(3):
                assert items(client, user="u1", k=1) == ["item19"]
            assert (cached(client, "hit"), cached(client, "miss")) == (0, 3)
            assert cached(client, "error") >= 1
            name = 'shopflow_transformer_lookup_errors_total{model_name="shop",of='
            assert [value(client, f'{name}"{of}"}}') for of in ("history", "items")] == [3, 3]


@contextmanager
def stub(*options: str, **environment: str) -> Iterator[str]:
    """A light server that speaks enough of v1; its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/serving/stub_server.py"), *options],
        env={**os.environ, "PORT": str(port), **environment},
    )
    try:
        until(lambda: _listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_predictor_that_is_slow_is_a_504_and_one_that_is_down_a_503():
    with stub(DELAY_S="20") as upstream:
        with transformer(upstream, "--predictor_timeout_s", "0.3", "--cache", "memory") as client:
            for body in (recommend({}), {"instances": [{"item": "a"}]}):
                slow = client.post(PREDICT, json=body)
                assert slow.status_code == 504, slow.text
                assert slow.json() == {"error": "the predictor took longer than 0.3 s"}
            client.post(PREDICT, json={**recommend({}), "exit": True})
    with transformer(upstream) as client:
        for path in (PREDICT, INFER):
            inputs = {"inputs": [tensor("item", ["a"], [1])]}
            down = client.post(path, json=recommend({}) if path == PREDICT else inputs)
            assert down.status_code == 503, down.text
            assert down.json() == {"error": "the predictor cannot be reached"}
        name = 'shopflow_transformer_predictor_errors_total{code="503",model_name="shop"}'
        assert value(client, name) == 2


def test_answer_that_is_none_is_a_502_and_a_predictor_that_names_no_model_is_not_cached():
    with stub("--null-scores") as upstream, transformer(upstream) as client:
        answer = client.post(PREDICT, json=recommend({}))
        assert (answer.status_code, answer.json()["error"]) == (
            502,
            "the predictor's answer: found a score that is no number, expected numbers",
        )
    with stub() as upstream, transformer(upstream, "--cache", "memory") as client:
        assert items(client) == items(client) == ["a"]
        assert [cached(client, of) for of in ("hit", "miss", "bypass")] == [0, 0, 2]
