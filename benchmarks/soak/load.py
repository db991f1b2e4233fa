"""Constant load on a service, with what became of every single request."""

import asyncio
import itertools
import json
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np
import orjson
import uvloop

from serving.protocol.headers import REVISION_HEADER

K, USERS, MAX_HISTORY = 10, 1_000, 50
_TIMEOUT_S = 10.0
_PAUSE_AFTER_NO_ANSWER_S = 0.05


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
        code: Status code, or a word where there was none: "timeout", "connection", "wrong answer".
        revision: Who answered; empty when nobody did.
    """

    code: str
    revision: str


@dataclass(frozen=True)
class Failure:
    """A request that did not get its recommendations: when it was sent, by whom, and why not."""

    began_s: float
    user: str
    outcome: Outcome


@dataclass(frozen=True)
class Requests:
    """Requests in columns, each of length [requests].

    Attributes:
        began_s: When it was sent, in seconds of the load's clock.
        latency_ms: Time to the whole answer or to the failure.
        outcome: Index into `outcomes`.
        outcomes: What became of requests.
    """

    began_s: np.ndarray
    latency_ms: np.ndarray
    outcome: np.ndarray
    outcomes: Sequence[Outcome]

    def between(self, start_s: float, end_s: float) -> "Requests":
        """Return those sent in a span of time."""
        chosen = (self.began_s >= start_s) & (self.began_s < end_s)
        return Requests(
            self.began_s[chosen], self.latency_ms[chosen], self.outcome[chosen], self.outcomes
        )

    def by_outcome(self) -> dict[Outcome, int]:
        """Return how many there are of each outcome."""
        counts = np.bincount(self.outcome, minlength=len(self.outcomes)).tolist()
        return {what: n for what, n in zip(self.outcomes, counts, strict=True) if n}


class ConstantLoad:
    """Clients that send one request after the other until they are stopped.

    A request is sent once: the HTTP client repeats no POST (RFC 9110, 9.2.2). Use as a context
    manager; the clients run in a thread of their own.

    Attributes:
        failures: Every request that was not answered as it should be.
        cpu_share: Part of one core the clients used; near 1 they would be what limits the load.
    """

    def __init__(self, url: str, service: str, *, clients: int) -> None:
        """Prepare the load.

        Args:
            url: Base URL of the service.
            service: Its name, which is the model's.
            clients: How many requests are under way at any time.
        """
        self._url, self._clients = f"{url}/v1/models/{service}:predict", clients
        self._next: Iterator[tuple[str, bytes]] = itertools.cycle(bodies())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)
        self._clock_zero = time.perf_counter()
        self._columns = array("d"), array("d"), array("H")
        self._outcomes: dict[Outcome, int] = {}
        self.failures: list[Failure] = []
        self.cpu_share = 0.0

    def __enter__(self) -> "ConstantLoad":
        """Start the clients."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them; returns when the last request is answered."""
        self._stop.set()
        self._thread.join()

    @property
    def now_s(self) -> float:
        """Time on the load's clock."""
        return time.perf_counter() - self._clock_zero

    def requests(self) -> Requests:
        """Return the requests that have ended until now."""
        done = len(self._columns[-1])  # written last of the three
        began, latency, outcome = (np.array(column[:done]) for column in self._columns)
        return Requests(began, latency, outcome, list(self._outcomes))

    async def _run(self) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        limit = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=limit, connector=connector) as session:
            await asyncio.gather(*(self._client(session) for _ in range(self._clients)))
        self.cpu_share = (time.thread_time() - cpu) / (time.perf_counter() - began)

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            user, body = next(self._next)
            began_s = self.now_s
            outcome = await self._ask(session, body)
            self._record(began_s, user, outcome)
            if not outcome.revision:
                await asyncio.sleep(_PAUSE_AFTER_NO_ANSWER_S)

    async def _ask(self, session: aiohttp.ClientSession, body: bytes) -> Outcome:
        headers = {"Content-Type": "application/json"}
        try:
            async with session.post(self._url, data=body, headers=headers) as answer:
                content, code = await answer.read(), str(answer.status)
        except TimeoutError:
            return Outcome("timeout", "")
        except aiohttp.ClientError as error:
            return Outcome(f"connection ({type(error).__name__})", "")
        if code == "200" and not _is_complete(content):
            code = "wrong answer"
        return Outcome(code, answer.headers.get(REVISION_HEADER, ""))

    def _record(self, began_s: float, user: str, outcome: Outcome) -> None:
        number = self._outcomes.setdefault(outcome, len(self._outcomes))
        began, latency, outcomes = self._columns
        began.append(began_s)
        latency.append(1000 * (self.now_s - began_s))
        outcomes.append(number)
        if outcome.code != "200":
            self.failures.append(Failure(began_s, user, outcome))


def bodies() -> list[tuple[str, bytes]]:
    """Return every user's id and request; histories differ in length, as real ones do."""
    random = np.random.default_rng(1)
    found = []
    for number in range(USERS):
        items = random.integers(0, 100_000, random.integers(0, MAX_HISTORY + 1))
        row = {"user": f"u{number}", "history": [f"item{item}" for item in items], "k": K}
        body = {"signature_name": "recommend", "instances": [row]}
        found.append((f"u{number}", json.dumps(body).encode()))
    return found


def _is_complete(content: bytes) -> bool:
    try:
        (row,) = orjson.loads(content)["predictions"]
        return len(row["items"]) == len(row["scores"]) == K
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return False
