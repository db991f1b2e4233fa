"""Trying a revision with the package's golden requests before any user reaches it."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from serving.platform import InferencePlatform, Prediction


class SmokeTestFailed(RuntimeError):
    """The revision gave a golden request an answer no user should get."""


def smoke_test(
    platform: InferencePlatform,
    service: str,
    *,
    revision: str,
    requests: Sequence[Mapping[str, Any]],
    timeout_s: float,
) -> None:
    """Send every golden request to one revision and check what comes back.

    Raises:
        SmokeTestFailed: If an answer is not 200, misses a row, recommends nothing, or has a score
            that is not finite.
    """
    deadline = time.monotonic() + timeout_s
    for number, body in enumerate(requests):
        answer = platform.predict(service, body, revision=revision)
        if problem := find_problem(answer, rows=len(body["instances"])):
            raise SmokeTestFailed(f"golden request {number}: {problem}")
        if time.monotonic() > deadline:
            raise SmokeTestFailed(f"{number + 1} golden requests took over {timeout_s:.0f} s")


def find_problem(answer: Prediction, *, rows: int) -> str | None:
    """Return what is wrong with an answer, None when nothing is.

    Args:
        answer: Answer to a v1 request.
        rows: Rows of the request.
    """
    if answer.status_code != 200:
        return f"found status {answer.status_code} ({str(answer.body)[:200]}), expected 200"
    predictions = answer.body.get("predictions") if isinstance(answer.body, dict) else None
    if not isinstance(predictions, list) or len(predictions) != rows:
        return f"found {str(answer.body)[:200]}, expected {rows} predictions"
    for row in predictions:
        scores = row.get("scores") if isinstance(row, dict) else [row]
        if isinstance(row, dict) and not row.get("items"):
            return "found a row without items, expected recommendations"
        if not scores or not all(isinstance(s, int | float) and math.isfinite(s) for s in scores):
            return f"found scores {str(scores)[:200]}, expected finite numbers"
    return None
