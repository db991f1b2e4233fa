"""Whose answer it is: no remembered answer of a model that takes no traffic, with a real split."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import aiohttp
import httpx
import pytest
from aiohttp import web

from serving.platform.router import Router, Routes, Upstream
from tests.serving.redis_process import running_redis
from tests.serving.running_server import running_server
from tests.serving.tiny_package import publish_tiny

PREDICT = "/v1/models/shop:predict"
STABLE, CANARY = "shop-00001", "shop-00002"
BEST = {STABLE: "item19", CANARY: "item29"}  # packages of 20 and of 30 items


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    package = publish_tiny(tmp_path_factory.mktemp("store"), version=2, items=30)
    options = ["--model_name", "shop", "--model_dir", str(package), "--revision", CANARY]
    with running_server("serving.predictor", *options) as client:
        yield client


class Split:
    """The local platform's router in a thread, before two predictors."""

    def __init__(self, router: Router, port: int, upstreams: dict[str, Upstream]) -> None:
        self.host = f"127.0.0.1:{port}"
        self._router, self.upstreams = router, upstreams

    def to(self, stable: str, *, canary: str | None = None, percent: int = 0) -> None:
        self._router.routes = Routes(self.upstreams, stable, canary, percent)


@contextmanager
def running_split(upstreams: dict[str, Upstream]) -> Iterator[Split]:
    loop, started, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    made: list[Split] = []

    async def serve() -> None:
        async with aiohttp.ClientSession() as session:
            router = Router(session)
            runner = web.ServerRunner(web.Server(router.handle, access_log=None))
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.append(Split(router, int(runner.addresses[0][1]), upstreams))
            started.set()
            await ended.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield made[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)


@pytest.fixture
def split(predictor: httpx.Client, second: httpx.Client) -> Iterator[Split]:
    urls = {STABLE: str(predictor.base_url), CANARY: str(second.base_url)}
    upstreams = {name: Upstream(name, url.rstrip("/")) for name, url in urls.items()}
    with running_split(upstreams) as running:
        running.to(STABLE)
        yield running


@contextmanager
def transformer(split: Split, cache: str, **environment: str) -> Iterator[httpx.Client]:
    named = ["--model_name", "shop", "--predictor_host", split.host, "--cache", cache]
    with running_server("serving.transformer", *named, **environment) as client:
        yield client


def ask(client: httpx.Client, *users: str, **headers: str) -> httpx.Response:
    rows = [{"user": user, "k": 1} for user in users]
    body = {"signature_name": "recommend", "instances": rows}
    answer = client.post(PREDICT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def revision(answer: httpx.Response) -> str:
    """Return who the answer says it is by, after comparing that with every row of it."""
    named = answer.headers["X-Shopflow-Revision"]
    assert [row["items"] for row in answer.json()["predictions"]] == [[BEST[named]]] * len(
        answer.json()["predictions"]
    )
    return named


def hits(client: httpx.Client) -> float:
    line = 'shopflow_transformer_cache_total{model_name="shop",result="hit"} '
    return float(client.get("/metrics").text.partition(line)[2].split("\n")[0])


def test_answers_of_a_model_end_with_its_promotion_and_are_used_again_after_a_roll_back(
    split: Split,
):
    with transformer(split, "memory") as client:
        assert [revision(ask(client, "u")) for _ in range(2)] == [STABLE, STABLE]
        assert hits(client) == 1
        split.to(CANARY)
        assert [revision(ask(client, "u")) for _ in range(2)] == [CANARY, CANARY]
        assert hits(client) == 2
        split.to(STABLE)
        assert revision(ask(client, "u")) == STABLE
        assert hits(client) == 3


def test_canary_is_met_by_its_users_only_also_from_the_cache(split: Split):
    users = [f"u{n}" for n in range(60)]
    with transformer(split, "memory") as client:
        split.to(STABLE, canary=CANARY, percent=50)
        first = {user: revision(ask(client, user)) for user in users}
        assert set(first.values()) == {STABLE, CANARY}
        before = hits(client)
        # The same split keeps each user where they were, and the second answer is remembered.
        assert {user: revision(ask(client, user)) for user in users} == first
        assert hits(client) == before + len(users)
        # The header goes before the body's user, as in the split itself.
        one = next(user for user in users if first[user] == CANARY)
        other = next(user for user in users if first[user] == STABLE)
        assert revision(ask(client, other, **{"X-User-Id": one})) == CANARY
        # A revision asked for by name is asked, at any share: so a candidate is smoke-tested.
        assert revision(ask(client, other, **{"X-Shopflow-Revision": CANARY})) == CANARY


def test_one_answer_is_by_one_model_though_some_rows_are_remembered(split: Split):
    with transformer(split, "memory") as client:
        revision(ask(client, "u1"))
        split.to(CANARY)
        revision(ask(client, "u2"))
        for stable in (STABLE, CANARY):
            split.to(stable)
            assert revision(ask(client, "u1", "u2", "u3")) == stable
        # Without a user the split draws anew for each exchange of one request.
        split.to(STABLE, canary=CANARY, percent=50)
        named = [revision(ask(client, "", "u1", f"new{n}")) for n in range(60)]
        assert set(named) == {STABLE, CANARY}


def test_under_load_no_request_begun_after_a_change_is_answered_by_the_model_before_it(
    split: Split,
):
    lock = threading.Lock()
    live = [STABLE]  # what may answer: the model now, and while it changes the one before
    with transformer(split, "memory") as client:

        def one(number: int) -> None:
            with lock:
                may_answer = set(live)
            answer = ask(client, f"u{number % 5}")
            with lock:
                may_answer |= set(live)
            assert revision(answer) in may_answer

        with ThreadPoolExecutor(4) as pool:
            pending = [pool.submit(one, number) for number in range(100)]
            for change in range(1, 9):
                before, after = (STABLE, CANARY)[:: 1 if change % 2 else -1]
                with lock:
                    live.append(after)
                split.to(after)
                with lock:
                    live.remove(before)
                pending += [pool.submit(one, number) for number in range(100)]
                pending[-60].result()
            for one_of_them in pending:
                one_of_them.result()
        assert hits(client) > 0


def test_replicas_share_redis_and_a_service_made_anew_under_old_names_meets_no_old_answer(
    split: Split, second: httpx.Client
):
    with running_redis() as redis:
        with transformer(split, "env:CACHE", CACHE=redis.url) as client:
            assert revision(ask(client, "u")) == STABLE
        with transformer(split, "env:CACHE", CACHE=redis.url) as client:
            assert revision(ask(client, "u")) == STABLE
            assert hits(client) == 1
        # The service is deleted and made again: another model under the first revision's name.
        again = {STABLE: Upstream(STABLE, str(second.base_url).rstrip("/"))}
        with running_split(again) as anew:
            anew.to(STABLE)
            with transformer(anew, "env:CACHE", CACHE=redis.url) as client:
                row = ask(client, "u").json()["predictions"][0]
                assert row["items"] == ["item29"]


def test_predictor_that_is_gone_is_a_503_also_for_what_is_remembered(split: Split):
    with transformer(split, "memory") as client:
        ask(client, "u")
        nobody = Upstream("gone", "http://127.0.0.1:9")
        split.upstreams = {"gone": nobody}
        split.to("gone")
        body = {"signature_name": "recommend", "instances": [{"user": "u", "k": 1}]}
        assert client.post(PREDICT, json=body).status_code == 503
