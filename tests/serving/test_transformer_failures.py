"""What the transformer answers when the predictor, Redis or both are away."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.ports import free_port
from tests.serving.running_server import ROOT
from tests.serving.transformer_client import (
    INFER,
    PREDICT,
    cached,
    host,
    items,
    recommend,
    tensor,
    transformer,
    until,
    value,
)


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
    port = free_port()
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


def test_errors_of_the_predictor_are_passed_on_as_they_are(predictor: httpx.Client):
    # The predictor serves no model of that name.
    with transformer(host(predictor), "--model_name", "other", "--cache", "memory") as client:
        for version, body in (("v1", recommend({})), ("v2", {"inputs": [tensor("item", [], [0])]})):
            path = f"/{version}/models/other{':predict' if version == 'v1' else '/infer'}"
            answer, direct = client.post(path, json=body), predictor.post(path, json=body)
            assert (answer.status_code, answer.json()) == (404, direct.json())
        name = 'shopflow_transformer_predictor_errors_total{code="404",model_name="other"}'
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
