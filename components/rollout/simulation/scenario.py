"""The canaries that are simulated."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array: TypeAlias = NDArray[np.float64]

# 15 % apart as the local router's, from 5 ms to 1.5 s, and open at the end.
BOUNDS_MS = np.append(5.0 * 1.15 ** np.arange(42), np.inf)
_P80_Z, _P95_Z = 0.8416, 1.6449  # of the normal distribution


@dataclass(frozen=True)
class Behaviour:
    """How a revision answers; requests are independent, latencies log-normal.

    Attributes:
        error_rate: Share of 5xx answers.
        median_ms: Median latency.
        spread: Standard deviation of the latency's natural logarithm.
        tail: How many times further than log-normal the slowest fifth lies from its start, as a
            factor of the logarithm; 1 is log-normal.
    """

    error_rate: float = 0.01
    median_ms: float = 40.0
    spread: float = 0.5
    tail: float = 1.0

    def bucket_shares(self) -> Array:
        """Return the share of the requests in each bucket of `BOUNDS_MS`."""
        z = np.log(BOUNDS_MS / self.median_ms) / self.spread
        below: Array = ndtr(np.where(z > _P80_Z, _P80_Z + (z - _P80_Z) / self.tail, z))
        return np.diff(below, prepend=0.0)


@dataclass(frozen=True)
class Scenario:
    """Two revisions side by side.

    Attributes:
        name: What is the matter with the canary.
        stable: How the stable answers.
        canary: How the canary answers.
        outage_error_rate: Errors of both in the second minute of a rollout, when something they
            both need is down; 0 for no outage.
    """

    name: str
    stable: Behaviour = Behaviour()
    canary: Behaviour = Behaviour()
    outage_error_rate: float = 0.0


# A tail that puts the p95 (z = 1.645) of a spread of 0.5 at 1.5 times where it was:
# 0.5 (tail - 1) (1.645 - 0.842) = ln 1.5.
_TAIL = 1 + np.log(1.5) / (0.5 * (_P95_Z - _P80_Z))
_HEAVY = Behaviour(spread=1.0)
SCENARIOS = (
    Scenario("equal, 1 % errors"),
    Scenario("equal, no errors", Behaviour(0.0), Behaviour(0.0)),
    Scenario("equal, 10 % errors", Behaviour(0.1), Behaviour(0.1)),
    Scenario("equal, heavy tail (p99 = 10 × median)", _HEAVY, _HEAVY),
    Scenario("equal, a minute's outage of both", outage_error_rate=0.2),
    Scenario("+0.2 points of errors, 5 % slower", canary=Behaviour(0.012, 42.0)),
    Scenario("errors 1 → 6 %", canary=Behaviour(0.06)),
    Scenario("errors 0 → 5 %", Behaviour(0.0), Behaviour(0.05)),
    Scenario("errors 10 → 15 %", Behaviour(0.1), Behaviour(0.15)),
    Scenario("every latency × 1.5", canary=Behaviour(median_ms=60.0)),
    Scenario("p95 × 1.5, median as before", canary=Behaviour(tail=float(_TAIL))),
    Scenario("heavy tail, every latency × 1.5", _HEAVY, Behaviour(median_ms=60.0, spread=1.0)),
)
