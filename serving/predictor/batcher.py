"""Requests that wait for the model anyway are answered together.

A request that finds the model idle runs at once and alone: nothing ever waits for company. Those
that arrive while it computes are one batch as soon as it is free. It pays because an exact search
reads the whole index from memory for each run, however many queries the run has.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import Histogram

from serving.protocol.request import Batch

Outputs = Mapping[str, npt.NDArray[Any]]
_Waiting = tuple[Batch, "asyncio.Future[Outputs]"]
_ROWS = Histogram(
    "shopflow_predictor_batch_rows",
    "Rows that were computed together",
    ("model_name",),
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)


class Batcher:
    """Runs batches on an executor; all of its own state belongs to the event loop."""

    def __init__(
        self,
        run: Callable[[Batch], Outputs],
        executor: Executor,
        *,
        name: str,
        runs: int,
        max_rows: int,
    ) -> None:
        """Prepare to run.

        Args:
            run: Computes one batch; each output's first axis is the batch's rows.
            executor: Where it runs.
            name: Model's name, for the metric.
            runs: Batches that may run at the same time.
            max_rows: Rows in a joined batch; a single request may have more.
        """
        self._run, self._executor = run, executor
        self._free, self._max_rows = runs, max_rows
        self._waiting: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rows = _ROWS.labels(name)

    async def answer(self, batch: Batch) -> Outputs:
        """Return the batch's own outputs, computed alone or together with others."""
        answered: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, answered))
        self._start()
        return await answered

    def _start(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            task = asyncio.create_task(self._finish(self._take()))
            self._tasks.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Waiting]:
        """Take the first that waits, and what may be computed with it, in order."""
        first = self._waiting.popleft()
        left: deque[_Waiting] = deque()
        taken, rows = [first], first[0].rows
        for entry in self._waiting:
            batch = entry[0]
            if batch.signature == first[0].signature and rows + batch.rows <= self._max_rows:
                taken.append(entry)
                rows += batch.rows
            else:
                left.append(entry)
        self._waiting = left
        return taken

    async def _finish(self, taken: list[_Waiting]) -> None:
        batches = [batch for batch, _ in taken]
        try:
            results = await self._compute(batches)
        finally:
            self._free += 1
            self._start()
        for (_, answered), result in zip(taken, results, strict=True):
            if answered.cancelled():  # its client is gone
                continue
            if isinstance(result, BaseException):
                answered.set_exception(result)
            else:
                answered.set_result(result)

    async def _compute(self, batches: list[Batch]) -> Sequence[Outputs | BaseException]:
        joined = join(batches)
        self._rows.observe(joined.rows)
        outcome = await self._try(joined)
        if not isinstance(outcome, BaseException):
            return split(outcome, batches)
        if len(batches) == 1:
            return [outcome]
        # One that cannot be computed must not take the others with it.
        return [await self._try(batch) for batch in batches]

    async def _try(self, batch: Batch) -> Outputs | BaseException:
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._run, batch)
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        return outcome


def join(batches: Sequence[Batch]) -> Batch:
    """Return the rows of batches of one signature, one after the other.

    Lists are padded on the left to the longest, as `read_v1` pads those of one request.
    """
    if len(batches) == 1:
        return batches[0]
    columns: dict[str, list[Any]] = {}
    for name in batches[0].columns:
        values = [value for batch in batches for value in batch.columns[name]]
        if isinstance(values[0], list):
            width = max(map(len, values))
            padding = b"" if any(isinstance(row[-1], bytes) for row in values) else 0
            values = [[padding] * (width - len(row)) + row for row in values]
        columns[name] = values
    return Batch(batches[0].signature, columns, sum(batch.rows for batch in batches))


def split(outputs: Outputs, batches: Sequence[Batch]) -> list[Outputs]:
    """Return each batch's own part of the outputs: what it would have been given alone.

    Recommendations have as many columns as the largest k of the run; a batch's own largest k says
    how many of them are its own. What an output says of each event of the history is in the last
    columns, because histories were padded on the left.
    """
    ends = np.cumsum([batch.rows for batch in batches])
    parts: list[Outputs] = []
    for batch, end in zip(batches, ends, strict=True):
        rows = slice(end - batch.rows, end)
        parts.append(
            {
                name: value[rows, _columns(name, batch)] if value.ndim == 2 else value[rows]
                for name, value in outputs.items()
            }
        )
    return parts


def _columns(name: str, batch: Batch) -> slice:
    if "k" in batch.columns:
        return slice(max(batch.columns["k"]))
    return (
        slice(-len(batch.columns["history"][0]), None)
        if name.startswith("history")
        else slice(None)
    )
