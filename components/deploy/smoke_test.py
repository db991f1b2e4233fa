"""Trying a revision with the package's golden requests before any user reaches it."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from components.deploy.package import GoldenRequest, VerifiedPackage
from components.deploy.settings import DeploySettings
from serving.platform import InferencePlatform, Prediction, ServiceStatus

# Another processor adds floats in another order; a model that differs by more is another model.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


class SmokeTestFailed(RuntimeError):
    """The revision gave a golden request an answer no user should get."""


def try_canary(
    platform: InferencePlatform,
    status: ServiceStatus,
    *,
    package: VerifiedPackage,
    settings: DeploySettings,
) -> None:
    """Send the package's golden requests to a service's canary; without one there is nothing to do.

    Raises:
        SmokeTestFailed: See `smoke_test`.
    """
    if status.canary is None:
        return
    smoke_test(
        platform,
        status.service,
        revision=status.canary.name,
        requests=package.golden_requests,
        timeout_s=settings.smoke_timeout_s,
        latency_budget_ms=settings.latency_budget_ms,
    )


def smoke_test(
    platform: InferencePlatform,
    service: str,
    *,
    revision: str,
    requests: Sequence[GoldenRequest],
    timeout_s: float,
    latency_budget_ms: float,
) -> None:
    """Send every golden request to one revision and check what comes back.

    Args:
        platform: Where the service runs.
        service: Name of the service.
        revision: The revision on trial.
        requests: What to send, and what the model answered when it was packaged.
        timeout_s: How long all of them together may take.
        latency_budget_ms: Limit of the median latency, which one slow answer does not move.

    Raises:
        SmokeTestFailed: If an answer is not 200, is not what the model answered when it was
            packaged, within rounding, or if the answers take too long.
    """
    deadline = time.monotonic() + timeout_s
    latencies_ms = []
    for number, golden in enumerate(requests):
        answer = platform.predict(service, golden.body, revision=revision)
        if problem := find_problem(answer, expected=golden.answer):
            raise SmokeTestFailed(f"golden request {number}: {problem}")
        latencies_ms.append(answer.latency_ms)
        if time.monotonic() > deadline:
            raise SmokeTestFailed(f"{number + 1} golden requests took over {timeout_s:.0f} s")
    median_ms = sorted(latencies_ms)[len(latencies_ms) // 2]
    if median_ms > latency_budget_ms:
        raise SmokeTestFailed(
            f"found a median latency of {median_ms:.1f} ms over {len(requests)} golden requests, "
            f"expected at most {latency_budget_ms:g} ms"
        )


def find_problem(answer: Prediction, *, expected: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an answer, None when nothing is.

    Args:
        answer: Answer to a v1 request of one row.
        expected: `items` and `scores` of the answer recorded at packaging, best first.
    """
    if answer.status_code != 200:
        return f"found status {answer.status_code} ({str(answer.body)[:200]}), expected 200"
    predictions = answer.body.get("predictions") if isinstance(answer.body, dict) else None
    if not isinstance(predictions, list) or len(predictions) != 1:
        return f"found {str(answer.body)[:200]}, expected one prediction"
    row = predictions[0] if isinstance(predictions[0], dict) else {}
    items, scores = row.get("items"), row.get("scores")
    if not isinstance(items, list) or not items:
        return "found a row without items, expected recommendations"
    if not isinstance(scores, list) or not all(_is_finite(score) for score in scores):
        return f"found scores {str(scores)[:200]}, expected finite numbers"
    return _find_difference(items, scores, expected["items"], expected["scores"])


def _is_finite(score: object) -> bool:
    return isinstance(score, int | float) and math.isfinite(score)


def _find_difference(
    items: Sequence[str], scores: Sequence[float], then: Sequence[str], then_scores: Sequence[float]
) -> str | None:
    """Return where an answer differs from the recorded one; equal scores may change places."""
    if not len(items) == len(scores) == len(then):
        return f"found {len(items)} items and {len(scores)} scores, expected {len(then)}"
    for place, (score, recorded) in enumerate(zip(scores, then_scores, strict=True)):
        if not _close(score, recorded):
            return f"found score {score:g} at place {place + 1}, expected {recorded:g} as packaged"
        around = then_scores[max(0, place - 1) : place + 2]
        # At the last place the item may be tied with one that was not returned.
        tied = place == len(then) - 1 or sum(_close(recorded, other) for other in around) > 1
        if items[place] != then[place] and not tied:
            return f"found {items[place]!r} at place {place + 1}, expected {then[place]!r}"
    return None


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
