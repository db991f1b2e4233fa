"""Sending the same requests to two revisions, outside the users' traffic."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import rich.progress

from serving.platform import InferencePlatform, PlatformError, Prediction


@dataclass(frozen=True)
class Answer:
    """What one revision made of one request.

    Attributes:
        status_code: HTTP status code; 0 when there was no answer.
        latency_ms: Time to the whole answer; of no meaning without one.
        items: The first row's recommendations, best first; empty after a failure.
    """

    status_code: int
    latency_ms: float
    items: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a user would have seen nothing."""
        return self.status_code != 200 or not self.items


def replay(
    platform: InferencePlatform,
    service: str,
    *,
    revisions: Sequence[str],
    bodies: Sequence[Mapping[str, Any]],
    clients: int,
) -> list[tuple[Answer, ...]]:
    """Send every request to every revision.

    The revisions take turns in going first, so that a cache that one warms for the other, or a
    busy moment of the machine, harms none of them more.

    Args:
        platform: Where the service runs.
        service: Name of the service.
        revisions: Names of the revisions.
        bodies: v1 request bodies.
        clients: Requests on their way at the same time.

    Returns:
        For each request its answers, in the order of `revisions`.
    """

    def ask(numbered: tuple[int, Mapping[str, Any]]) -> tuple[Answer, ...]:
        number, body = numbered
        order = sorted(revisions, key=lambda name: (revisions.index(name) + number) % 2)
        answers = {name: _ask(platform, service, body, revision=name) for name in order}
        return tuple(answers[name] for name in revisions)

    with ThreadPoolExecutor(clients) as pool, rich.progress.Progress(transient=True) as progress:
        answered = pool.map(ask, enumerate(bodies))
        return list(progress.track(answered, total=len(bodies), description="shadow"))


def _ask(
    platform: InferencePlatform, service: str, body: Mapping[str, Any], *, revision: str
) -> Answer:
    try:
        found = platform.predict(service, body, revision=revision)
    except PlatformError:
        return Answer(0, 0.0)
    return Answer(found.status_code, found.latency_ms, _items(found))


def _items(found: Prediction) -> tuple[str, ...]:
    predictions = found.body.get("predictions") if isinstance(found.body, dict) else None
    first = predictions[0] if isinstance(predictions, list) and predictions else None
    items = first.get("items") if isinstance(first, dict) else None
    return tuple(map(str, items)) if isinstance(items, list) else ()
