"""Running many rollouts of one scenario."""

from dataclasses import dataclass

import numpy as np

from components.rollout.simulation.judge import ADVANCE, ROLL_BACK, Judge, Tally
from components.rollout.simulation.scenario import Array, Behaviour, Scenario


@dataclass(frozen=True)
class Found:
    """How the rollouts of a scenario ended.

    Attributes:
        rolled_back: Share rolled back.
        requests: Median of the requests the canary got until it was rolled back; None if none was.
    """

    rolled_back: float
    requests: float | None


def simulate(
    judge: Judge,
    scenario: Scenario,
    *,
    steps: tuple[int, ...],
    requests_per_s: float,
    rollouts: int,
    seed: int,
) -> Found:
    """Run many rollouts of one scenario.

    Requests come as a Poisson process and each goes to the canary by the step's share, so the
    counts between two looks are independent Poisson counts, by revision and by bucket.

    Args:
        judge: Who decides; new, for as many rollouts.
        scenario: The two revisions.
        steps: The canary's share in percent, step by step.
        requests_per_s: Requests of all users.
        rollouts: How many.
        seed: Of everything random.
    """
    draw = np.random.default_rng(seed)
    step, step_s, used = np.zeros(rollouts, dtype=int), np.zeros(rollouts), np.zeros(rollouts)
    ended: list[Array] = []
    now_s = 0.0
    while len(step):
        now_s += judge.look_s
        step_s = step_s + judge.look_s
        share = np.array(steps)[step] / 100
        expected = requests_per_s * judge.look_s
        outage = scenario.outage_error_rate if 60 < now_s <= 120 else 0.0
        canary = _requests(draw, scenario.canary, expected * share, outage)
        stable = _requests(draw, scenario.stable, expected * (1 - share), outage)
        used = used + canary.requests
        codes = judge.look(canary, stable, step_s)
        ended.append(used[codes == ROLL_BACK])
        step = step + (codes == ADVANCE)
        step_s = np.where(codes == ADVANCE, 0.0, step_s)
        going = (codes != ROLL_BACK) & (step < len(steps))
        judge.keep(going)
        step, step_s, used = step[going], step_s[going], used[going]
    bad = np.concatenate(ended)
    return Found(len(bad) / rollouts, float(np.median(bad)) if len(bad) else None)


def _requests(
    draw: np.random.Generator, revision: Behaviour, expected: Array, outage: float
) -> Tally:
    buckets = draw.poisson(expected[:, None] * revision.bucket_shares()).astype(float)
    requests = buckets.sum(axis=-1)
    errors = draw.binomial(requests.astype(int), outage or revision.error_rate).astype(float)
    return Tally(requests, errors, buckets)
