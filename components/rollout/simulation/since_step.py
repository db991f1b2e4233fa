"""`decide`'s rule over arrays; a test shows that both say the same."""

import numpy as np
from numpy.typing import NDArray

from components.rollout.checks import (
    P50,
    P95,
    alpha_of_one_test,
    error_evidence,
    is_doubt,
    is_proof,
    latency_evidence,
)
from components.rollout.policy import RolloutPolicy
from components.rollout.simulation.judge import ADVANCE, HOLD, ROLL_BACK, Codes, Tally
from components.rollout.simulation.scenario import BOUNDS_MS, Array


class SinceStep:
    """Judges by all that was seen since the step began, as `decide` is asked to."""

    def __init__(self, policy: RolloutPolicy, rollouts: int) -> None:
        self.policy, self.look_s = policy, policy.poll_s
        self.canary = self.stable = self.baseline = Tally.none(rollouts)

    def look(self, canary: Tally, stable: Tally, step_s: Array) -> Codes:
        """See `Judge`."""
        self.canary, self.stable = self.canary.plus(canary), self.stable.plus(stable)
        has_traffic = self.stable.requests > 0
        stable = self.stable.where(has_traffic, self.baseline)
        codes = self.judge(self.canary, stable, step_s, beside=has_traffic)
        advanced = codes == ADVANCE
        self.baseline = self.baseline.plus(self.stable).where(advanced, self.baseline)
        none = Tally.none(len(codes))
        self.canary, self.stable = (
            none.where(advanced, self.canary),
            none.where(advanced, self.stable),
        )
        return codes

    def judge(
        self, canary: Tally, stable: Tally, step_s: Array, *, beside: NDArray[np.bool_]
    ) -> Codes:
        """Return what `decide` says of each rollout against its stable, over arrays.

        No scenario comes near the absolute limit of latencies that `decide` has where the stable
        does not answer beside the canary, so it is left out here.
        """
        policy, alpha = self.policy, alpha_of_one_test(self.policy)
        proven, clear = np.zeros(len(step_s), dtype=bool), np.ones(len(step_s), dtype=bool)
        seen = (canary.requests > 0) & (stable.requests > 0)
        ours, theirs = canary.of(seen), stable.of(seen)
        found = error_evidence(
            ours.errors, ours.requests, theirs.errors, theirs.requests, policy=policy
        )
        proven[seen], clear[seen] = is_proof(found, alpha), ~is_doubt(found)
        enough = np.minimum(canary.requests, stable.requests) >= policy.min_requests
        timed = enough & beside
        ours, theirs = canary.of(timed), stable.of(timed)
        for quantile in (P50, P95):
            found = latency_evidence(
                ours.cumulative,
                theirs.cumulative,
                bounds_ms=BOUNDS_MS,
                stable_bounds_ms=BOUNDS_MS,
                quantile=quantile,
                policy=policy,
            )
            proven[timed] |= is_proof(found, alpha)
            clear[timed] &= ~is_doubt(found)
        # As the default policy has it, a step out of time is a roll-back.
        late = step_s >= policy.step_timeout_s
        return np.select([proven, enough & clear, late], [ROLL_BACK, ADVANCE, ROLL_BACK], HOLD)

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """See `Judge`."""
        self.canary, self.stable = self.canary.of(chosen), self.stable.of(chosen)
        self.baseline = self.baseline.of(chosen)
