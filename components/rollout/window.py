"""What a revision did in a stretch of time: counters at its end minus counters at its start."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

_Key = TypeVar("_Key", int, float)


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


@dataclass(frozen=True)
class Window:
    """Requests of one revision in a stretch of time.

    Attributes:
        requests: All of them.
        errors: Those answered 5xx; what a user did wrong (4xx) is not the model's error.
        latency_ms: How many took at most this long, by upper bound in ms, rising to inf.
    """

    requests: int = 0
    errors: int = 0
    latency_ms: Mapping[float, int] = field(default_factory=dict)

    @property
    def error_rate(self) -> float:
        """Share of requests answered 5xx; 0 without requests."""
        return self.errors / self.requests if self.requests else 0.0

    def quantile_ms(self, quantile: float) -> float | None:
        """Return a latency quantile, None without data.

        Linear inside the bucket, as Prometheus' histogram_quantile; a quantile in the last,
        open bucket is that bucket's lower bound.

        Args:
            quantile: Between 0 and 1.
        """
        total = max(self.latency_ms.values(), default=0)
        if not total:
            return None
        rank, below, low = quantile * total, 0, 0.0
        for bound, count in sorted(self.latency_ms.items()):
            if count >= rank:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * (rank - below) / max(count - below, 1)
            below, low = count, bound
        return low

    def slower_than(self, limit_ms: float) -> float:
        """Return how many requests took longer, linear inside the bucket of the limit."""
        total, below, low = max(self.latency_ms.values(), default=0), 0, 0.0
        for bound, count in sorted(self.latency_ms.items()):
            if limit_ms < bound:
                inside = 0.0 if math.isinf(bound) else (limit_ms - low) / (bound - low)
                return total - (below + (count - below) * inside)
            below, low = count, bound
        return 0.0


def window_between(start: Counters | None, end: Counters | None) -> Window:
    """Return what happened between two readings of a revision's counters.

    A counter that went down has started again from zero, so its whole value is new.
    """
    if end is None:
        return Window()
    requests = _grown(start.requests if start else {}, end.requests)
    errors = sum(count for code, count in requests.items() if code >= 500)
    latency_ms = _grown(start.latency_ms if start else {}, end.latency_ms)
    return Window(sum(requests.values()), errors, latency_ms)


def _grown(start: Mapping[_Key, int], end: Mapping[_Key, int]) -> dict[_Key, int]:
    restarted = any(count < start.get(key, 0) for key, count in end.items())
    return {key: count - (0 if restarted else start.get(key, 0)) for key, count in end.items()}
