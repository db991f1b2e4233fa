"""Replays held-out purchases as live requests, as the shop's front end would send them."""

import dataclasses
import datetime
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import polars as pl

from serving.platform import connect

# A browser waits about this long before it shows the page without recommendations.
_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Visit:
    """One visit of a user: what is known before it and what was bought during the days after.

    Attributes:
        user: User id.
        history: Item ids bought before, oldest first.
        bought: Item ids the user bought in the replayed days.
    """

    user: str
    history: tuple[str, ...]
    bought: frozenset[str]


def held_out_visits(
    transactions: Path, *, start: datetime.date, days: int, history_length: int = 100
) -> list[Visit]:
    """Read who bought something in a span of days the model has not seen, and their past.

    Args:
        transactions: Complete Journey's purchases, Parquet.
        start: First day of the replay; everything before it is history.
        days: Length of the replay.
        history_length: At most this many past items, the most recent ones.

    Returns:
        One visit per user, in the order of their first purchase in the span.
    """
    begin = datetime.datetime.combine(start, datetime.time())
    time = pl.col("time")
    events = pl.scan_parquet(transactions).select(
        user=pl.col("household_id").cast(pl.String),
        item=pl.col("product_id").cast(pl.String),
        time=pl.col("transaction_timestamp").dt.replace_time_zone(None).cast(pl.Datetime("us")),
    )
    span = events.filter(time.is_between(begin, begin + datetime.timedelta(days=days)))
    return _visits(events.filter(time < begin), span, history_length=history_length)


def visits_of_the_test_window(events_dir: Path, *, history_length: int = 100) -> list[Visit]:
    """Read who bought something in the test window of cleaned events, and their past.

    Args:
        events_dir: The ingest step's events, with train, eval and test.
        history_length: At most this many past items, the most recent ones.

    Returns:
        One visit per user, in the order of their first event in the window.
    """
    columns = ("user", "item", "time")
    past, window = (
        pl.scan_parquet([events_dir / name / "*.parquet" for name in names]).select(columns)
        for names in (("train", "eval"), ("test",))
    )
    return _visits(past, window, history_length=history_length)


def _visits(past: pl.LazyFrame, span: pl.LazyFrame, *, history_length: int) -> list[Visit]:
    histories = (
        past.sort("time", maintain_order=True)
        .group_by("user")
        .agg(history=pl.col("item").tail(history_length))
    )
    visits = (
        span.group_by("user")
        .agg(first=pl.col("time").min(), bought=pl.col("item").unique())
        .join(histories, on="user", how="left")
        .sort("first", "user")
        .collect()
    )
    rows = zip(visits["user"], visits["history"], visits["bought"], strict=True)
    return [
        Visit(user, tuple(history if history is not None else ()), frozenset(bought))
        for user, history, bought in rows
    ]


class TrafficReplay:
    """Sends visits to a service until it is stopped.

    Use as a context manager. Requests begin when a revision of the service takes traffic. They come
    at the full rate while a canary does, so that nobody waits long for its evidence, and at a
    tenth of it otherwise, so that they leave the machine to the training beside them.

    Attributes:
        visits: What is sent; empty before the first request.
        responses: Answers by status code; 0 counts requests without an answer.
        hits: Answers that held an item the user then bought.
    """

    def __init__(
        self,
        visits: Callable[[], Sequence[Visit]],
        *,
        platform: str,
        service: str,
        requests_per_s: float = 120.0,
        clients: int = 4,
    ) -> None:
        """Prepare the replay.

        Args:
            visits: Returns what to send, in order; begins again at the end. Called when a revision
                takes traffic, until it returns any.
            platform: Platform the service runs on, as in the pipeline's parameter.
            service: Name of the service.
            requests_per_s: Full rate of all clients together.
            clients: Concurrent clients.
        """
        self.visits: Sequence[Visit] = ()
        self._load = visits
        self._next: Iterator[Visit] = iter(())
        self._platform, self._service = platform, service
        self._full_pause_s = clients / requests_per_s
        self._pause_s = self._full_pause_s
        self._url: str | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        targets = [self._watch] + [self._client] * clients
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        self.responses: Counter[int] = Counter()
        self.hits = 0

    def __enter__(self) -> "TrafficReplay":
        """Start the clients."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the clients; returns when the last request is answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        """Keep the address and the rate in step with what the service consists of."""
        platform = connect(self._platform)
        while not self._stop.wait(0.5):
            status = platform.status(self._service)
            found = [r for r in (status.stable, status.canary) if r and r.ready]
            open_to_users = any(revision.traffic_percent > 0 for revision in found)
            if status.url and open_to_users and self._begin():
                self._url = f"{status.url}/v1/models/{self._service}:predict"
            on_trial = status.canary is not None and status.canary.traffic_percent > 0
            self._pause_s = self._full_pause_s * (1 if on_trial else 10)

    def _begin(self) -> bool:
        """Load the visits unless that is done; return whether there are any."""
        if not self.visits:
            self.visits = self._load()
            self._next = itertools.cycle(self.visits)
        return bool(self.visits)

    def _client(self) -> None:
        with httpx.Client(timeout=_TIMEOUT_S) as client:
            while not self._stop.wait(0 if self._url else 0.2):
                if self._url is None:
                    continue
                began_s = time.monotonic()
                with self._lock:
                    visit = next(self._next)
                self._send(client, self._url, visit)
                self._stop.wait(max(0.0, self._pause_s - (time.monotonic() - began_s)))

    def _send(self, client: httpx.Client, url: str, visit: Visit) -> None:
        try:
            response = client.post(url, json=recommend_body(visit))
        except httpx.HTTPError:
            with self._lock:
                self.responses[0] += 1
            return
        hit = False
        if response.status_code == 200:
            answer = response.json()["predictions"][0]
            hit = not visit.bought.isdisjoint(answer["items"])
        with self._lock:
            self.responses[response.status_code] += 1
            self.hits += hit


def recommend_body(visit: Visit, *, k: int = 10) -> dict[str, object]:
    """Return the v1 request body that asks for `k` recommendations for a visit."""
    instance = {"user": visit.user, "history": list(visit.history), "k": k}
    return {"signature_name": "recommend", "instances": [instance]}


def curl_line(url: str, service: str, visit: Visit) -> str:
    """Return a shell line that asks the service for recommendations, to copy as it stands."""
    short = dataclasses.replace(visit, history=visit.history[-3:])
    body = json.dumps(recommend_body(short, k=5))
    return (
        f"curl -s -H 'Content-Type: application/json' {url}/v1/models/{service}:predict -d '{body}'"
    )
