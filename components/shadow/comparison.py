"""What the replay says of the candidate: figures, and the pure decision made of them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from components.shadow.overlap import average_overlap, overlap_at_k
from components.shadow.replay import Answer
from components.shadow.settings import ShadowSettings


@dataclass(frozen=True)
class Measured:
    """One revision's answers; latencies in ms, None when every request failed."""

    requests: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @property
    def error_rate(self) -> float:
        """Share of requests that failed; 1 without requests, which is no good news."""
        return self.failed / self.requests if self.requests else 1.0


@dataclass(frozen=True)
class Comparison:
    """The candidate beside the stable.

    Attributes:
        candidate: The candidate's answers.
        stable: The stable's; None on a first release.
        overlap: Overlap@k of each request that both answered.
        average_overlap: Mean over those requests; None when there are none.
    """

    candidate: Measured
    stable: Measured | None = None
    overlap: tuple[float, ...] = ()
    average_overlap: float | None = None

    @property
    def mean_overlap(self) -> float | None:
        """Mean overlap@k; None when no request was answered by both."""
        return statistics.fmean(self.overlap) if self.overlap else None


def compare(answers: Sequence[tuple[Answer, ...]]) -> Comparison:
    """Summarise a replay.

    Args:
        answers: By request: the candidate's answer, then the stable's when there is a stable.
    """
    candidate = measure([answer[0] for answer in answers])
    if not answers or len(answers[0]) == 1:
        return Comparison(candidate)
    both = [(a.items, b.items) for a, b in answers if not (a.failed or b.failed)]
    alike = [average_overlap(one, other) for one, other in both]
    return Comparison(
        candidate,
        measure([answer[1] for answer in answers]),
        tuple(overlap_at_k(one, other) for one, other in both),
        statistics.fmean(alike) if alike else None,
    )


def measure(answers: Sequence[Answer]) -> Measured:
    """Summarise one revision's answers; the latencies are those of answered requests."""
    latencies_ms = sorted(answer.latency_ms for answer in answers if not answer.failed)
    quantiles = (_quantile(latencies_ms, quantile) for quantile in (0.5, 0.95, 0.99))
    return Measured(len(answers), sum(answer.failed for answer in answers), *quantiles)


def _quantile(ordered: Sequence[float], quantile: float) -> float | None:
    """Return the smallest value that at least this share of the values does not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


@dataclass(frozen=True)
class Objection:
    """Why a candidate must not meet users: what was found, and what was expected."""

    found: str
    expected: str

    def __str__(self) -> str:
        """One sentence."""
        return f"found {self.found}, expected {self.expected}"


def find_objection(found: Comparison, settings: ShadowSettings) -> Objection | None:
    """Return why the candidate must not meet users; None when nothing speaks against it."""
    candidate, stable = found.candidate, found.stable
    if candidate.error_rate > settings.max_error_rate:
        return Objection(
            f"{candidate.failed} of {candidate.requests} shadow requests failed",
            f"at most {settings.max_error_rate:.1%}",
        )
    if stable is None:
        return None
    if candidate.p50_ms is not None and stable.p50_ms is not None:
        limit_ms = max(
            settings.max_median_ratio * stable.p50_ms, stable.p50_ms + settings.latency_floor_ms
        )
        if candidate.p50_ms > limit_ms:
            return Objection(
                f"a median of {candidate.p50_ms:.1f} ms in shadow",
                f"at most {limit_ms:.1f} ms beside the stable's {stable.p50_ms:.1f} ms",
            )
    overlap = found.mean_overlap
    if settings.min_overlap > 0 and (overlap is None or overlap < settings.min_overlap):
        shown = "none" if overlap is None else f"{overlap:.3f}"
        return Objection(
            f"a mean overlap of {shown} with the stable", f"at least {settings.min_overlap:g}"
        )
    return None
