"""Replays held-out purchases as live requests, as the shop's front end would send them."""

import itertools
import json
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import httpx

from pipelines.visits import Visit
from serving.platform import connect
from serving.protocol.feedback import FEEDBACK_PATH
from serving.protocol.headers import REVISION_HEADER

# A browser waits about this long before it shows the page without recommendations.
_TIMEOUT_S = 5.0


class TrafficReplay:
    """Sends visits to a service until it is stopped.

    Use as a context manager. Requests begin when a revision of the service takes traffic. They come
    at the full rate while a canary does, so that nobody waits long for its evidence, and at a
    tenth of it otherwise, so that they leave the machine to the training beside them.

    Attributes:
        visits: What is sent; empty before the first request.
        responses: Answers by status code; 0 counts requests without an answer.
        hits: Answers that held an item the user bought that day.
        reports: Feedback by status code; each is about all answers of a revision since the last.
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
        self._address = ""
        self._url: str | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        targets = [self._watch] + [self._client] * clients
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        self.responses: Counter[int] = Counter()
        self.hits = 0
        self.reports: Counter[int] = Counter()
        self._answers: Counter[str] = Counter()  # by revision, not yet reported
        self._clicks: Counter[str] = Counter()

    def __enter__(self) -> "TrafficReplay":
        """Start the clients."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the clients; returns when the last request is answered and reported on."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with _http() as client:
            self._report(client)

    def _watch(self) -> None:
        """Keep the address and the rate in step with what the service consists of."""
        platform = connect(self._platform)
        with _http() as client:
            while not self._stop.wait(0.5):
                self._report(client)
                status = platform.status(self._service)
                found = [r for r in (status.stable, status.canary) if r and r.ready]
                open_to_users = any(revision.traffic_percent > 0 for revision in found)
                if status.url and open_to_users and self._begin():
                    self._address = status.url
                    self._url = f"{status.url}/v1/models/{self._service}:predict"
                on_trial = status.canary is not None and status.canary.traffic_percent > 0
                self._pause_s = self._full_pause_s * (1 if on_trial else 10)

    def _report(self, client: httpx.Client) -> None:
        """Say what became of the answers since the last report, as a shop says what was clicked.

        The replay knows the end of a visit as soon as it is answered. One that bought an item of
        the answer that day is taken to have clicked on it.
        """
        with self._lock:
            answers, clicks = self._answers, self._clicks
            self._answers, self._clicks = Counter(), Counter()
        for revision, count in answers.items():
            body = {"revision": revision, "impressions": count, "clicks": clicks[revision]}
            try:
                code = client.post(f"{self._address}{FEEDBACK_PATH}", json=body).status_code
            except httpx.HTTPError:
                code = 0
            self.reports[code] += 1

    def _begin(self) -> bool:
        """Load the visits unless that is done; return whether there are any."""
        if not self.visits:
            self.visits = self._load()
            self._next = itertools.cycle(self.visits)
        return bool(self.visits)

    def _client(self) -> None:
        with _http() as client:
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
            if response.status_code == 200:
                revision = response.headers.get(REVISION_HEADER, "")
                self._answers[revision] += 1
                self._clicks[revision] += hit


def recommend_body(visit: Visit, *, k: int = 10) -> dict[str, object]:
    """Return the v1 request body that asks for `k` recommendations for a visit."""
    instance = {"user": visit.user, "history": list(visit.history), "k": k}
    return {"signature_name": "recommend", "instances": [instance]}


def curl_line(url: str, service: str, body: Mapping[str, object]) -> str:
    """Return a shell line that sends a v1 request to the service, to copy as it stands."""
    return (
        f"curl -s -H 'Content-Type: application/json' {url}/v1/models/{service}:predict "
        f"-d {shlex.quote(json.dumps(body))}"
    )


def _http() -> httpx.Client:
    # The service is on this machine: no proxy from the environment stands before it.
    return httpx.Client(timeout=_TIMEOUT_S, trust_env=False)
