"""Talking to a transformer's process, and reading its counters."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx

from tests.serving.running_server import running_server

PREDICT, INFER = "/v1/models/shop:predict", "/v2/models/shop/infer"
JSON = {"Content-Type": "application/json"}


def recommend(*instances: dict) -> dict:
    return {"signature_name": "recommend", "instances": list(instances)}


def tensor(name: str, values: list, shape: list[int]) -> dict:
    kind = "INT64" if name == "k" else "BYTES"
    return {"name": name, "shape": shape, "datatype": kind, "data": values}


def host(client: httpx.Client) -> str:
    return f"{client.base_url.host}:{client.base_url.port}"


def transformer(
    predictor_host: str, *options: str, **environment: str
) -> AbstractContextManager[httpx.Client]:
    named = ["--model_name", "shop", "--predictor_host", predictor_host]
    return running_server("serving.transformer", *named, *options, **environment)


def value(client: httpx.Client, line: str) -> float:
    """Return a metric; `line` is its name and labels."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def items(client: httpx.Client, **instance: object) -> list[str]:
    answer = client.post(PREDICT, json=recommend(instance))
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["items"]


def cached(client: httpx.Client, result: str) -> float:
    return value(client, f'shopflow_transformer_cache_total{{model_name="shop",result="{result}"}}')
