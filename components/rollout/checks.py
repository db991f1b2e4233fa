"""The comparisons behind a decision: what each asks, what it found, and what that means.

`error_evidence` and `latency_evidence` take arrays, so that the simulation runs the very same
tests over thousands of rollouts at once.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.rollout.evidence import (
    Evidence,
    evidence_above,
    evidence_more_often,
    evidence_slower,
)
from components.rollout.histogram import quantile_of, slower_than
from components.rollout.policy import RolloutPolicy
from components.rollout.window import Window

Verdict = Literal["passed", "open", "failed", "missing"]
P50, P95 = 0.5, 0.95
# Half the square of the normal deviate 1: one standard error beyond what is allowed. More would let
# a longer tail through to 100 %, where no latencies are compared, more often than 1 time in 100.
_DOUBT = 0.5
_LIMITS = 2  # tests of a first release, whose only step is all the users: errors, p95


@dataclass(frozen=True)
class Check:
    """One comparison behind a decision, for the record.

    Attributes:
        name: What was compared.
        value: What was found; None without data. A p-value here may be looked at at any time: it
            is 1 / E, see `components.rollout.evidence`.
        bound: What it was compared with.
        verdict: "failed": the canary is proven outside the limit. "open": the data speak for that,
            but do not prove it. "missing": too few for a test. "passed": none of these.
        seen: The figures that a p-value is about, the canary's and the stable's.
    """

    name: str
    value: float | None
    bound: float
    verdict: Verdict
    seen: str = ""


def alpha_of_one_test(policy: RolloutPolicy) -> float:
    """Return a test's part of the rollout's alpha: all steps' tests together keep to it (Boole)."""
    return policy.alpha / (len(policy.steps) * (4 if policy.business_metric else 3))


def compare(
    canary: Window, stable: Window, policy: RolloutPolicy, *, enough: bool, beside: bool
) -> tuple[Check, ...]:
    """Compare a canary with its stable.

    Args:
        canary: The canary's requests.
        stable: The stable's.
        policy: What is allowed.
        enough: Whether both have answered `min_requests`. Latencies are not judged before: a
            server's first requests are slow, and slow together.
        beside: Whether the stable answered at the same time. Where it did not, as at 100 %, its
            latencies were those of another hour and another load, and say nothing of the canary's:
            these are then held against the absolute limit.
    """
    alpha = alpha_of_one_test(policy)
    checks = [_compare_errors(canary, stable, policy, alpha=alpha)]
    if not beside:
        checks.append(_limit_latency(canary, policy, alpha=alpha, enough=enough))
    quantiles = ((P50, policy.max_p50_ratio), (P95, policy.max_p95_ratio))
    for quantile, ratio in quantiles if beside else ():
        name = f"p{100 * quantile:.0f} latency over {ratio:g} × stable's, p-value"
        found = _latency(canary, stable, policy, quantile=quantile) if enough else None
        seen = f"{_ms(canary, quantile)} against {_ms(stable, quantile)}"
        checks.append(_check(name, found, alpha, seen))
    if policy.business_metric:
        checks.append(_compare_feedback(canary, stable, policy, alpha=alpha))
    return tuple(checks)


def check_limits(canary: Window, policy: RolloutPolicy, *, enough: bool) -> tuple[Check, ...]:
    """Hold a first release, which has no stable beside it, against the absolute limits.

    Outside a limit is proven by a sequential test; inside is what is measured.

    Args:
        canary: Its requests.
        policy: The limits.
        enough: Whether it has answered `min_requests`.
    """
    proof = -math.log(policy.alpha / _LIMITS)
    errors: Verdict = "missing"
    if canary.requests:
        found = evidence_above(canary.errors, canary.requests, limit=policy.max_error_rate)
        proven = canary.errors >= policy.min_errors and float(found.log_e) >= proof
        within = canary.error_rate <= policy.max_error_rate
        errors = "failed" if proven else "passed" if within else "open"
    return (
        Check("error rate", canary.error_rate, policy.max_error_rate, errors),
        _limit_latency(canary, policy, alpha=policy.alpha / _LIMITS, enough=enough),
    )


def _limit_latency(canary: Window, policy: RolloutPolicy, *, alpha: float, enough: bool) -> Check:
    latency: Verdict = "missing"
    seen = ""
    p95_ms = canary.quantile_ms(P95)
    if enough and p95_ms is not None:
        slower = slower_than(canary.cumulative, canary.bounds_ms, [policy.max_p95_ms])
        found = evidence_above(slower, canary.cumulative[-1], limit=1 - P95)
        # inf in the open bucket, of which p95_ms is only the lower bound.
        at = float(quantile_of(canary.cumulative, canary.bounds_ms, P95))
        seen = "slower than the histogram can tell" if math.isinf(at) else ""
        proven = float(found.log_e[0]) >= -math.log(alpha)
        latency = "failed" if proven else "passed" if at <= policy.max_p95_ms else "open"
    return Check("p95 latency, ms", p95_ms, policy.max_p95_ms, latency, seen)


def is_proof(found: Evidence, alpha: float) -> NDArray[np.bool_]:
    """Return whether the null is refuted, at whatever look."""
    return found.log_e >= -math.log(alpha)


def is_doubt(found: Evidence) -> NDArray[np.bool_]:
    """Return whether the data are a standard error beyond the null: more are wanted."""
    return found.log_ratio > _DOUBT


def error_evidence(
    errors: ArrayLike,
    requests: ArrayLike,
    stable_errors: ArrayLike,
    stable_requests: ArrayLike,
    *,
    policy: RolloutPolicy,
) -> Evidence:
    """Return the evidence against "the canary's error rate is at most the stable's + the margin".

    Args:
        errors: The canary's errors.
        requests: The canary's requests, at least 1.
        stable_errors: The stable's errors.
        stable_requests: The stable's requests, at least 1.
        policy: Names the margin, and the errors below which nothing is proven.
    """
    found = evidence_more_often(
        errors, requests, stable_errors, stable_requests, margin=policy.max_error_increase
    )
    few = np.asarray(errors) < policy.min_errors
    return Evidence(np.where(few, np.minimum(found.log_e, 0.0), found.log_e), found.log_ratio)


def latency_evidence(
    cumulative: ArrayLike,
    stable_cumulative: ArrayLike,
    *,
    bounds_ms: ArrayLike,
    stable_bounds_ms: ArrayLike,
    quantile: float,
    policy: RolloutPolicy,
) -> Evidence:
    """Return the evidence against "the canary's quantile is at most what the stable's allows".

    Args:
        cumulative: The canary's requests that took at most each bound, shape [..., bounds].
        stable_cumulative: The stable's, likewise.
        bounds_ms: The canary's bounds.
        stable_bounds_ms: The stable's bounds.
        quantile: 0.5 or 0.95.
        policy: Names the ratio and the floor.
    """
    return evidence_slower(
        cumulative,
        stable_cumulative,
        bounds=bounds_ms,
        base_bounds=stable_bounds_ms,
        quantile=quantile,
        ratio=policy.max_p50_ratio if quantile == P50 else policy.max_p95_ratio,
        floor=policy.latency_floor_ms,
    )


def _compare_errors(
    canary: Window, stable: Window, policy: RolloutPolicy, *, alpha: float
) -> Check:
    name = f"error rate over stable's + {policy.max_error_increase:g}, p-value"
    if not canary.requests or not stable.requests:
        return _check(name, None, alpha)
    found = error_evidence(
        canary.errors, canary.requests, stable.errors, stable.requests, policy=policy
    )
    return _check(
        name, found, alpha, f"{_percent(canary.error_rate)} against {_percent(stable.error_rate)}"
    )


def _latency(
    canary: Window, stable: Window, policy: RolloutPolicy, *, quantile: float
) -> Evidence | None:
    if not canary.has_latencies or not stable.has_latencies:
        return None
    return latency_evidence(
        canary.cumulative,
        stable.cumulative,
        bounds_ms=canary.bounds_ms,
        stable_bounds_ms=stable.bounds_ms,
        quantile=quantile,
        policy=policy,
    )


def _compare_feedback(
    canary: Window, stable: Window, policy: RolloutPolicy, *, alpha: float
) -> Check:
    name = f"{policy.business_metric} under stable's - {policy.max_business_drop:g}, p-value"
    ours, theirs = canary.feedback, stable.feedback
    if ours is None or theirs is None:
        return _check(name, None, alpha)
    if min(ours.trials, theirs.trials) < policy.min_requests:
        seen = f"{ours.trials:,} and {theirs.trials:,} reported, expected {policy.min_requests:,}"
        return _check(name, None, alpha, seen)
    if ours.failures < 0 or theirs.failures < 0:
        return _check(name, None, alpha, "more successes than trials, which is no count of them")
    # Fewer successes are more failures, so that it is the errors' test.
    found = evidence_more_often(
        ours.failures,
        ours.trials,
        theirs.failures,
        theirs.trials,
        margin=policy.max_business_drop,
    )
    seen = f"{_percent(ours.rate)} against {_percent(theirs.rate)}"
    return _check(name, found, alpha, seen)


def _check(name: str, found: Evidence | None, alpha: float, seen: str = "") -> Check:
    if found is None:
        return Check(name, None, alpha, "missing", seen)
    proven, doubtful = is_proof(found, alpha), is_doubt(found)
    verdict: Verdict = "failed" if proven else "open" if doubtful else "passed"
    return Check(name, math.exp(-max(float(found.log_e), 0.0)), alpha, verdict, seen)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _ms(window: Window, quantile: float) -> str:
    found = window.quantile_ms(quantile)
    return "nothing" if found is None else f"{found:.1f} ms"
