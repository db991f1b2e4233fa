"""The rollout's one decision, as a pure function of what has been seen."""

import math
from dataclasses import dataclass, field
from typing import Literal

from components.rollout.policy import RolloutPolicy
from components.rollout.window import Window

Kind = Literal["hold", "advance", "promote", "roll_back"]
_P95 = 0.95


@dataclass(frozen=True)
class RolloutState:
    """Where a rollout stands.

    Attributes:
        step: Index into the policy's steps.
        has_stable: Whether there is a stable revision to compare with.
        baseline: What the stable did in the last step it had traffic in; compared with when it
            has none, as at 100 %.
    """

    step: int = 0
    has_stable: bool = True
    baseline: Window = field(default_factory=Window)


@dataclass(frozen=True)
class Observation:
    """What happened in the present step.

    Attributes:
        elapsed_s: Time since the step began.
        canary: The canary's requests since then.
        stable: The stable's requests since then.
    """

    elapsed_s: float
    canary: Window
    stable: Window


@dataclass(frozen=True)
class Check:
    """One comparison behind a decision, for the record.

    Attributes:
        name: What was compared.
        value: What was found; None without data.
        bound: What it was compared with.
        passed: Whether the canary may go on, as far as this goes.
    """

    name: str
    value: float | None
    bound: float
    passed: bool


@dataclass(frozen=True)
class Action:
    """What to do now, why, and on what evidence."""

    kind: Kind
    reason: str
    checks: tuple[Check, ...] = ()


def decide(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> Action:
    """Decide whether the canary gets more users, all of them, none, or more time.

    A canary is rolled back when its error rate is significantly above the stable's, or its median
    or p95 latency above the allowed multiple of the stable's: where other load makes every tail
    long, the median still tells a slower model. Without a stable, when it is above the absolute
    limits. It advances only after `min_requests`. No data is never good news: it holds, and after
    `step_timeout_s` it rolls back.
    """
    canary = observation.canary
    stable = _stable(state, observation, policy)
    enough = canary.requests >= policy.min_requests and (
        not state.has_stable or stable.requests >= policy.min_requests
    )
    checks = (
        (
            _compare_errors(canary, stable, policy, enough=enough),
            _compare_latency(
                canary, stable, policy, quantile=0.5, ratio=policy.max_p50_ratio, enough=enough
            ),
            _compare_latency(
                canary, stable, policy, quantile=_P95, ratio=policy.max_p95_ratio, enough=enough
            ),
        )
        if state.has_stable
        else (
            _limit_errors(canary, policy, enough=enough),
            _limit_latency(canary, policy, enough=enough),
        )
    )
    for check in checks:
        if not check.passed:
            return Action("roll_back", f"{check.name}: {_told(check)}", checks)
    if enough:
        return _next(state, policy, checks)
    seen = f"{canary.requests} requests of the canary"
    if state.has_stable:
        seen += f" and {stable.requests} of the stable"
    if observation.elapsed_s >= policy.step_timeout_s:
        waited = f"only {seen} in {observation.elapsed_s:.0f} s"
        return Action("roll_back", f"{waited}, expected {policy.min_requests}", checks)
    return Action("hold", f"{seen} of {policy.min_requests}", checks)


def _stable(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> Window:
    # Counters that were scraped are late: at 100 % the last requests of the step before still
    # come in, never enough to compare with.
    if policy.steps[state.step] == 100 and state.baseline.requests:
        return state.baseline
    return observation.stable if observation.stable.requests else state.baseline


def two_proportion_p_value(
    errors: int, requests: int, base_errors: int, base_requests: int
) -> float:
    """Return the p-value of "the first proportion is not larger than the second".

    The one-sided two-proportion z test with pooled variance: NIST/SEMATECH e-Handbook of
    Statistical Methods, section 7.3.3. Its normal approximation needs about five errors.
    """
    pooled = (errors + base_errors) / (requests + base_requests)
    variance = pooled * (1 - pooled) * (1 / requests + 1 / base_requests)
    if variance == 0:
        return 1.0
    z = (errors / requests - base_errors / base_requests) / math.sqrt(variance)
    return _upper_tail(z)


def quantile_p_value(slower: float, requests: int, *, quantile: float) -> float:
    """Return the p-value of "the quantile of the latency is at most the limit".

    The quantile test: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2, in its
    normal approximation with continuity correction. "The p95 is at most the limit" says the same
    as "at most 5 % are slower than the limit".

    Args:
        slower: Requests slower than the limit.
        requests: All requests.
        quantile: Which quantile, between 0 and 1.
    """
    expected = (1 - quantile) * requests
    z = (slower - 0.5 - expected) / math.sqrt(expected * quantile)
    return _upper_tail(z)


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


def _compare_errors(
    canary: Window, stable: Window, policy: RolloutPolicy, *, enough: bool
) -> Check:
    name = "error rate against stable, p-value"
    alpha = policy.alpha if enough else policy.early_alpha
    if canary.errors < policy.min_errors or not stable.requests:
        return Check(name, None, alpha, passed=True)
    p_value = two_proportion_p_value(canary.errors, canary.requests, stable.errors, stable.requests)
    return Check(name, p_value, alpha, passed=p_value >= alpha)


def _compare_latency(
    canary: Window,
    stable: Window,
    policy: RolloutPolicy,
    *,
    quantile: float,
    ratio: float,
    enough: bool,
) -> Check:
    name = f"p{100 * quantile:.0f} latency over {ratio:g} × stable's, p-value"
    stable_ms = stable.quantile_ms(quantile)
    # Not before the end of a step: a server's first requests are slow, and slow together.
    if not enough or stable_ms is None:
        return Check(name, None, policy.alpha, passed=True)
    limit_ms = max(ratio * stable_ms, stable_ms + policy.latency_floor_ms)
    slower = canary.slower_than(limit_ms)
    p_value = quantile_p_value(slower, canary.requests, quantile=quantile)
    return Check(name, p_value, policy.alpha, passed=p_value >= policy.alpha)


def _limit_errors(canary: Window, policy: RolloutPolicy, *, enough: bool) -> Check:
    passed = not enough or canary.error_rate <= policy.max_error_rate
    return Check("error rate", canary.error_rate, policy.max_error_rate, passed)


def _limit_latency(canary: Window, policy: RolloutPolicy, *, enough: bool) -> Check:
    p95_ms = canary.quantile_ms(_P95)
    passed = not enough or (p95_ms is not None and p95_ms <= policy.max_p95_ms)
    return Check("p95 latency, ms", p95_ms, policy.max_p95_ms, passed)


def _next(state: RolloutState, policy: RolloutPolicy, checks: tuple[Check, ...]) -> Action:
    if not state.has_stable or state.step == len(policy.steps) - 1:
        return Action("promote", "every step passed", checks)
    following = policy.steps[state.step + 1]
    return Action("advance", f"passed at {policy.steps[state.step]} %, next {following} %", checks)


def _told(check: Check) -> str:
    value = "no data" if check.value is None else f"{check.value:.3g}"
    return f"found {value}, limit {check.bound:g}"
