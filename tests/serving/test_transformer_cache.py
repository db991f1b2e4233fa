"""The cache: what is remembered, for how long, for which model; and that it never is an error."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from serving.transformer.cache import AnswerCache, CacheFailed, MemoryStore, Row, Store, read_row
from serving.transformer.redis_store import RedisStore, connect
from tests.serving.redis_process import running_redis

ROW = Row(["a", "b"], [2.0, 1.5])
QUESTION = ("u1", ["x", "y"], 50)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Counts(Counter[str]):
    def __call__(self, result: str, count: int) -> None:
        self[result] += count


def cache(store: Store, counts: Counts, clock: Clock | None = None) -> AnswerCache:
    return AnswerCache(
        store, model_name="shop", filters_version="f1", count=counts, clock=clock or Clock()
    )


def memory(clock: Clock, *, size_bytes: int = 10_000, ttl_s: float = 60.0) -> MemoryStore:
    return MemoryStore(size_bytes=size_bytes, ttl_s=ttl_s, clock=clock)


def test_remembers_a_row_until_its_time_is_over():
    clock, counts = Clock(), Counts()
    answers = cache(memory(clock, ttl_s=60), counts, clock)
    key = answers.key("shop/1/aa", QUESTION)
    assert asyncio.run(answers.get([key])) == [None]
    asyncio.run(answers.put({key: ROW}))
    clock.now_s = 59.0
    assert asyncio.run(answers.get([key, "other"])) == [ROW, None]
    clock.now_s = 60.5
    assert asyncio.run(answers.get([key])) == [None]
    assert counts == {"hit": 1, "miss": 3}


def test_key_is_another_for_another_model_question_or_filters_and_shows_no_history():
    store = memory(Clock())
    answers = cache(store, Counts())
    others = AnswerCache(store, model_name="shop", filters_version="f2", count=Counts())
    keys = {
        answers.key("shop/1/aa", QUESTION),
        answers.key("shop/2/bb", QUESTION),
        answers.key("shop/1/aa", ("u2", ["x", "y"], 50)),
        answers.key("shop/1/aa", ("u1", ["y", "x"], 50)),
        answers.key("shop/1/aa", ("u1", ["x,y"], 50)),
        answers.key("shop/1/aa", ("u1", ["x", "y"], 51)),
        others.key("shop/1/aa", QUESTION),
    }
    assert len(keys) == 7
    assert answers.key("shop/1/aa", QUESTION) in keys
    assert not any("u1" in key for key in keys)


def test_memory_forgets_the_least_recently_used_first_and_never_grows_over_its_size():
    async def run() -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
        store = memory(Clock(), size_bytes=100)
        # An entry takes 1 + 39 bytes: two fit, three do not.
        await store.put({"a": b"1" * 39, "b": b"2" * 39})
        await store.get(["a"])
        await store.put({"c": b"3" * 39})
        left = await store.get(["a", "b", "c"])
        await store.put({"d": b"4" * 200})  # larger than all of it
        return left, await store.get(["a", "d", "c"])

    left, then = asyncio.run(run())
    assert left == [b"1" * 39, None, b"3" * 39]
    assert then == [b"1" * 39, None, b"3" * 39]


class Broken:
    """A store that is down and counts how often it is asked."""

    asked = 0

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.asked += 1
        raise CacheFailed("down")

    async def put(self, entries: Mapping[str, bytes]) -> None:
        self.asked += 1
        raise CacheFailed("down")

    async def close(self) -> None:
        pass


def test_store_that_is_down_is_a_miss_and_left_alone_for_a_second():
    clock, counts, store = Clock(), Counts(), Broken()
    answers = cache(store, counts, clock)
    assert asyncio.run(answers.get(["k1", "k2"])) == [None, None]
    assert asyncio.run(answers.get(["k1"])) == [None]
    asyncio.run(answers.put({"k1": ROW}))
    assert (store.asked, counts) == (1, {"hit": 0, "miss": 3, "error": 1})
    clock.now_s = 1.0
    asyncio.run(answers.put({"k1": ROW}))
    assert (store.asked, counts["error"]) == (2, 2)


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'[["a"],[1,2]]', b"[[1],[1]]", b"null"])
def test_entry_that_cannot_be_read_is_a_miss_and_counted(value: bytes):
    counts, store = Counts(), memory(Clock())
    asyncio.run(store.put({"k": value}))
    assert asyncio.run(cache(store, counts).get(["k"])) == [None]
    assert counts == {"hit": 0, "miss": 1, "error": 1}


def test_row_of_an_answer_goes_without_its_padding():
    assert read_row({"items": ["a", "", ""], "scores": [1.0, -3.4e38, -3.4e38]}) == Row(
        ["a"], [1.0]
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (3.5, "found float, expected an object with items and scores"),
        ({"items": ["a"]}, "expected an object with items and scores"),
        ({"items": ["a"], "scores": []}, "expected two lists of one length"),
        ({"items": "a", "scores": [1]}, "expected two lists of one length"),
        ({"items": [1], "scores": [1]}, "found an item that is no text"),
        ({"items": ["a"], "scores": [None]}, "found a score that is no number"),
    ],
)
def test_row_that_is_none_is_refused(row: object, message: str):
    with pytest.raises(ValueError, match=message):
        read_row(row)


def test_redis_remembers_for_the_time_asked():
    with running_redis("s3cret") as server:
        url = server.url.replace("127", ":s3cret@127")

        async def run() -> list[Row | None]:
            answers = cache(RedisStore(connect(url, timeout_s=5), ttl_s=90), Counts())
            await answers.put({"k": ROW})
            found = await answers.get(["k", "none"])
            await answers.close()
            return found

        assert asyncio.run(run()) == [ROW, None]
        assert 80 < server.client.ttl("k") <= 90
        # A wrong password is one more way of being away.
        counts = Counts()
        wrong = connect(server.url, timeout_s=5)
        assert asyncio.run(cache(RedisStore(wrong, ttl_s=1), counts).get(["k"])) == [None]
        assert counts["error"] == 1


def test_redis_that_freezes_dies_and_comes_back_is_a_miss_and_then_a_hit():
    counts, clock = Counts(), Clock()
    with running_redis() as server:

        async def run() -> list[list[Row | None]]:
            answers = cache(RedisStore(connect(server.url, timeout_s=2), ttl_s=90), counts, clock)
            await answers.put({"k": ROW})
            found = [await answers.get(["k"])]
            os.kill(server.process.pid, signal.SIGSTOP)
            found.append(await answers.get(["k"]))
            os.kill(server.process.pid, signal.SIGCONT)
            clock.now_s += 2.0
            found.append(await answers.get(["k"]))
            server.process.kill()
            server.process.wait(10)
            clock.now_s += 2.0
            found.append(await answers.get(["k"]))
            return found

        assert asyncio.run(run()) == [[ROW], [None], [ROW], [None]]
    assert counts == {"hit": 2, "miss": 2, "error": 2}
