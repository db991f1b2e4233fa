"""How others judge a canary, for the simulation to compare with.

Argo Rollouts and Flagger compare a query's value over the last interval with a fixed threshold and
count the failures, as their documentation and source have it (Argo Rollouts 1.8, Flagger 1.x):

* Argo Rollouts: a metric is measured every `interval`; the analysis fails, and the rollout goes
  back, when more than `failureLimit` measurements have failed in all. The limit's default is 0;
  the documented example has interval 5m, success rate ≥ 0.95, failureLimit 3, and ten minutes'
  pause after each weight. It measures no latency.
* Flagger: every `interval` all metrics are checked; when they pass, the weight goes up; when one
  does not, the failed checks go up by one, and the canary is rolled back at the interval after
  they have reached `threshold`. The documented example has interval 1m, threshold 5,
  request-success-rate ≥ 99 % and request-duration (p99) ≤ 500 ms over the last minute.

The third is what one would write by hand: the textbook tests of the same nulls as ours, one-sided
at 1 %, made at every look although they are made for one.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from components.rollout.checks import P50, P95
from components.rollout.histogram import quantile_of, slower_than
from components.rollout.simulation.judge import ADVANCE, HOLD, ROLL_BACK, Codes, Tally
from components.rollout.simulation.scenario import BOUNDS_MS, Array
from components.rollout.simulation.since_step import SinceStep

_P99 = 0.99


@dataclass
class Argo:
    """The documented background analysis of Argo Rollouts.

    Attributes:
        rollouts: How many are judged.
        look_s: The metric's interval.
        pause_s: Duration of the pause after each weight.
        max_error_rate: Largest share of 5xx answers of a successful measurement.
        failure_limit: Failed measurements that are still tolerated.
    """

    rollouts: int
    look_s: float = 300.0
    pause_s: float = 600.0
    max_error_rate: float = 0.05
    failure_limit: int = 3
    failures: Array = field(init=False)

    def __post_init__(self) -> None:
        """Begin without failures."""
        self.failures = np.zeros(self.rollouts)

    def look(self, canary: Tally, stable: Tally, step_s: Array) -> Codes:
        """See `Judge`."""
        self.failures = self.failures + (canary.errors > self.max_error_rate * canary.requests)
        failed = self.failures > self.failure_limit
        return np.select([failed, step_s >= self.pause_s], [ROLL_BACK, ADVANCE], HOLD)

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """See `Judge`."""
        self.failures = self.failures[chosen]


@dataclass
class Flagger:
    """The documented analysis of Flagger.

    Attributes:
        rollouts: How many are judged.
        look_s: The analysis' and the metrics' interval.
        max_error_rate: Largest share of 5xx answers.
        max_p99_ms: Largest p99.
        threshold: Failed checks that end the rollout.
    """

    rollouts: int
    look_s: float = 60.0
    max_error_rate: float = 0.01
    max_p99_ms: float = 500.0
    threshold: int = 5
    failures: Array = field(init=False)

    def __post_init__(self) -> None:
        """Begin without failures."""
        self.failures = np.zeros(self.rollouts)

    def look(self, canary: Tally, stable: Tally, step_s: Array) -> Codes:
        """See `Judge`."""
        over = self.failures >= self.threshold
        bad = canary.errors > self.max_error_rate * canary.requests
        bad |= quantile_of(canary.cumulative, BOUNDS_MS, _P99) > self.max_p99_ms
        self.failures = self.failures + bad
        return np.select([over, bad], [ROLL_BACK, HOLD], ADVANCE)

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """See `Judge`."""
        self.failures = self.failures[chosen]


class TextbookTests(SinceStep):
    """Fixed-sample tests at every look, of the nulls that our policy has.

    The two-proportion z test (NIST/SEMATECH e-Handbook, section 7.3.3) of the errors, and the
    quantile test (Conover, Practical Nonparametric Statistics, section 3.2) of the latencies, which
    takes the stable's quantile as known.
    """

    def judge(
        self, canary: Tally, stable: Tally, step_s: Array, *, beside: NDArray[np.bool_]
    ) -> Codes:
        """See `SinceStep`."""
        policy, critical = self.policy, -float(ndtri(self.policy.alpha))
        n, m = np.maximum(canary.requests, 1), np.maximum(stable.requests, 1)
        pooled = (canary.errors + stable.errors) / (n + m)
        deviation = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        excess = canary.errors / n - stable.errors / m - policy.max_error_increase
        proven = (excess > critical * deviation) & (canary.errors >= policy.min_errors)
        enough = np.minimum(canary.requests, stable.requests) >= policy.min_requests
        timed = enough & beside
        ours, theirs = canary.of(timed), stable.of(timed)
        for quantile, ratio in ((P50, policy.max_p50_ratio), (P95, policy.max_p95_ratio)):
            base_ms = quantile_of(theirs.cumulative, BOUNDS_MS, quantile)
            limit_ms = np.maximum(ratio * base_ms, base_ms + policy.latency_floor_ms)
            slower = slower_than(ours.cumulative, BOUNDS_MS, limit_ms[:, None])[:, 0]
            expected = (1 - quantile) * ours.requests
            proven[timed] |= slower - expected > critical * np.sqrt(expected * quantile)
        return np.select([proven, enough], [ROLL_BACK, ADVANCE], HOLD)
