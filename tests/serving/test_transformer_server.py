"""The transformer's look-ups, filters and cache, before the real predictor's process."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serving.redis_process import running_redis
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
