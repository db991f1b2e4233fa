"""What a revision did in a stretch of time: counters at its end minus counters at its start."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.rollout.histogram import quantile_of

_Key = TypeVar("_Key", int, float, str)


class Reported(Protocol):
    """Cumulative counters of the shop's feedback, as an inference platform reports them."""

    @property
    def impressions(self) -> int:
        """Answers whose end is known."""
        ...

    @property
    def clicks(self) -> int:
        """Those of them that did what they were for."""
        ...


class Counters(Protocol):
    """Cumulative counters of a revision, as an inference platform reports them."""

    @property
    def requests(self) -> Mapping[int, int]:
        """Requests by status code."""
        ...

    @property
    def latency_ms(self) -> Mapping[float, int]:
        """Requests that took at most this long, by upper bound in ms."""
        ...

    @property
    def feedback(self) -> Reported | None:
        """What the shop reported; None when nobody reported anything."""
        ...


@dataclass(frozen=True)
class Feedback:
    """What a revision's answers were good for, such as recommendations clicked.

    Attributes:
        trials: Answers whose end is known.
        successes: Those that did what they were for.
    """

    trials: int = 0
    successes: int = 0

    @property
    def failures(self) -> int:
        """Trials that were no success."""
        return self.trials - self.successes

    @property
    def rate(self) -> float:
        """Share of successes; 0 without trials."""
        return self.successes / self.trials if self.trials else 0.0


@dataclass(frozen=True)
class Window:
    """Requests of one revision in a stretch of time.

    Attributes:
        requests: All of them.
        errors: Those answered 5xx; what a user did wrong (4xx) is not the model's error.
        latency_ms: How many took at most this long, by upper bound in ms, rising to inf.
        feedback: Trials and successes of the business metric; None when nobody reported any.
    """

    requests: int = 0
    errors: int = 0
    latency_ms: Mapping[float, int] = field(default_factory=dict)
    feedback: Feedback | None = None

    def plus(self, other: "Window") -> "Window":
        """Return both stretches together."""
        bounds = {*self.latency_ms, *other.latency_ms}
        latency_ms = {
            bound: self.latency_ms.get(bound, 0) + other.latency_ms.get(bound, 0)
            for bound in bounds
        }
        reported = [one for one in (self.feedback, other.feedback) if one is not None]
        feedback = Feedback(
            sum(one.trials for one in reported), sum(one.successes for one in reported)
        )
        return Window(
            self.requests + other.requests,
            self.errors + other.errors,
            latency_ms,
            feedback if reported else None,
        )

    @property
    def error_rate(self) -> float:
        """Share of requests answered 5xx; 0 without requests."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def bounds_ms(self) -> NDArray[np.float64]:
        """The latency histogram's upper bounds, rising."""
        return np.array(sorted(self.latency_ms), dtype=float)

    @property
    def cumulative(self) -> NDArray[np.float64]:
        """How many took at most each bound; never falling, as sums over servers sometimes do."""
        counts = np.array([count for _, count in sorted(self.latency_ms.items())], dtype=float)
        return np.maximum.accumulate(counts) if counts.size else counts

    @property
    def has_latencies(self) -> bool:
        """Whether the histogram holds at least one request."""
        return any(self.latency_ms.values())

    def quantile_ms(self, quantile: float) -> float | None:
        """Return a latency quantile, None without data.

        A quantile in the last, open bucket is that bucket's lower bound.

        Args:
            quantile: Between 0 and 1.
        """
        if not self.has_latencies:
            return None
        found = float(quantile_of(self.cumulative, self.bounds_ms, quantile))
        largest = max((bound for bound in self.latency_ms if math.isfinite(bound)), default=0.0)
        return min(found, largest)


def window_between(start: Counters | None, end: Counters | None) -> Window:
    """Return what happened between two readings of a revision's counters.

    A counter that went down has started again from zero, so its whole value is new.
    """
    if end is None:
        return Window()
    requests = _grown(start.requests if start else {}, end.requests)
    errors = sum(count for code, count in requests.items() if code >= 500)
    latency_ms = _grown(start.latency_ms if start else {}, end.latency_ms)
    feedback = _reported(start.feedback if start else None, end.feedback)
    return Window(sum(requests.values()), errors, latency_ms, feedback)


def _reported(start: Reported | None, end: Reported | None) -> Feedback | None:
    if end is None:
        return None
    before = {"trials": start.impressions, "successes": start.clicks} if start else {}
    return Feedback(**_grown(before, {"trials": end.impressions, "successes": end.clicks}))


def _grown(start: Mapping[_Key, int], end: Mapping[_Key, int]) -> dict[_Key, int]:
    restarted = any(count < start.get(key, 0) for key, count in end.items())
    return {key: count - (0 if restarted else start.get(key, 0)) for key, count in end.items()}
