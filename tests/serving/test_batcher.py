"""Requests computed together are answered as if each had been alone."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.predictor.batcher import Batcher, join, split
from serving.protocol.request import Batch


def asked(*, user: str, history: list[str], k: int, signature: str = "recommend") -> Batch:
    history_bytes = [item.encode() for item in history] or [b""]
    columns = {"user": [user.encode()], "history": [history_bytes], "k": [k]}
    return Batch(signature, columns, 1)


def test_histories_are_padded_on_the_left_and_rows_keep_their_order():
    joined = join([asked(user="a", history=["x", "y"], k=2), asked(user="b", history=[], k=3)])
    assert joined.rows == 2
    assert joined.columns == {
        "user": [b"a", b"b"],
        "history": [[b"x", b"y"], [b"", b""]],
        "k": [2, 3],
    }


def test_each_batch_gets_its_rows_and_the_columns_of_its_own_k():
    outputs = {"items": np.arange(9).reshape(3, 3), "rank": np.array([1.0, 2.0, 3.0])}
    two_rows = Batch("recommend", {"k": [1, 2]}, 2)
    first, second = split(outputs, [two_rows, Batch("recommend", {"k": [3]}, 1)])
    assert first["items"].tolist() == [[0, 1], [3, 4]]
    assert first["rank"].tolist() == [1.0, 2.0]
    assert second["items"].tolist() == [[6, 7, 8]]


def test_what_is_said_of_a_history_is_cut_to_the_batchs_own():
    columns = [[[b"x", b"y"]], [[b"z"]]]
    batches = [Batch("explain", {"history": history}, 1) for history in columns]
    outputs = {"history_changes": np.array([[1, 2], [0, 3]]), "vector": np.array([[4, 5], [6, 7]])}
    first, second = split(outputs, batches)
    assert first["history_changes"].tolist() == [[1, 2]]
    # Its only event was padded on the left; other outputs keep their columns.
    assert second["history_changes"].tolist() == [[3]]
    assert second["vector"].tolist() == [[6, 7]]


class Model:
    """Answers with the user's name; the first run waits until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.runs: list[list[bytes]] = []

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        self.runs.append(list(batch.columns["user"]))
        if len(self.runs) == 1:
            assert self.go_on.wait(10)
        if b"poison" in batch.columns["user"]:
            raise RuntimeError("poison")
        return {"items": np.array(batch.columns["user"], dtype=object)}


def together(model: Model, batches: list[Batch], *, max_rows: int) -> list[object]:
    """Ask for the first, and for all others while it is computed."""

    async def ask() -> list[object]:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(model.run, pool, name="test", runs=1, max_rows=max_rows)
            tasks = [asyncio.create_task(batcher.answer(batch)) for batch in batches]
            while not model.runs:
                await asyncio.sleep(0.001)
            model.go_on.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(ask())


def users(*names: str, signature: str = "recommend") -> list[Batch]:
    return [asked(user=name, history=[], k=1, signature=signature) for name in names]


def test_what_waits_is_computed_together_up_to_the_limit_and_by_signature():
    model = Model()
    batches = users("a", "b", "c") + users("s", signature="score") + users("d", "e")
    answers = together(model, batches, max_rows=3)
    assert [answer["items"][0].decode() for answer in answers] == ["a", "b", "c", "s", "d", "e"]
    # "a" found the model idle; of the rest three rows fit, the next three do not.
    assert model.runs == [[b"a"], [b"b", b"c", b"d"], [b"s"], [b"e"]]


def test_one_that_cannot_be_computed_fails_alone():
    model = Model()
    answers = together(model, users("a", "b", "poison", "c"), max_rows=10)
    assert [type(answer) for answer in answers] == [dict, dict, RuntimeError, dict]
    assert model.runs[1] == [b"b", b"poison", b"c"]


def test_a_client_that_is_gone_does_not_stop_the_others():
    model = Model()

    async def ask() -> object:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(model.run, pool, name="test", runs=1, max_rows=10)
            first, gone, last = (
                asyncio.create_task(batcher.answer(b)) for b in users("a", "b", "c")
            )
            while not model.runs:
                await asyncio.sleep(0.001)
            gone.cancel()
            model.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await gone
            await first
            return await last

    assert asyncio.run(ask())["items"].tolist() == [b"c"]
