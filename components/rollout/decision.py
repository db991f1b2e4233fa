"""The rollout's one decision, as a pure function of what has been seen."""

from dataclasses import dataclass, field
from typing import Literal

from components.rollout.checks import Check, check_limits, compare
from components.rollout.policy import RolloutPolicy
from components.rollout.window import Window

Kind = Literal["hold", "advance", "promote", "roll_back", "fail"]
_TOLD = {"roll_back": "it is rolled back", "fail": "the step fails", "hold": "it goes on waiting"}


@dataclass(frozen=True)
class RolloutState:
    """Where a rollout stands.

    Attributes:
        step: Index into the policy's steps.
        has_stable: Whether there is a stable revision to compare with.
        baseline: What the stable did in earlier steps; the last one, at 100 %, compares with that.
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
class Action:
    """What to do now, why, and on what evidence."""

    kind: Kind
    reason: str
    checks: tuple[Check, ...] = ()


def decide(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> Action:
    """Decide whether the canary gets more users, all of them, none, or more time.

    It may be asked at every look: the tests are sequential, so that looking often does not raise
    the risk of a false alarm.

    * Rolled back is a canary that is proven outside of what the policy allows.
    * It advances when it has answered `min_requests` (and the stable too, while it has traffic),
      every test has its data, and none speaks against it.
    * Otherwise it holds: no data is never good news, and where the data speak against the canary
      without proving it, more of them decide at no more users' cost.
    * A step that cannot advance within `step_timeout_s` ends as the policy says.
    """
    canary = observation.canary
    stable = observation.stable
    beside = state.step < len(policy.steps) - 1
    if not beside:
        # All users are the canary's; what the stable still answers was asked before.
        stable = state.baseline.plus(stable)
    enough = canary.requests >= policy.min_requests and (
        not state.has_stable or stable.requests >= policy.min_requests
    )
    checks = (
        compare(canary, stable, policy, enough=enough, beside=beside)
        if state.has_stable
        else check_limits(canary, policy, enough=enough)
    )
    for check in checks:
        if check.verdict == "failed":
            return Action("roll_back", f"{check.name}: {_found(check)}", checks)
    if enough and all(check.verdict == "passed" for check in checks):
        return _next(state, policy, checks)
    waiting = _waiting_for(canary, stable, state, policy, checks, enough=enough)
    if observation.elapsed_s < policy.step_timeout_s:
        return Action("hold", waiting, checks)
    told = f"after {observation.elapsed_s:.0f} s by the policy {_TOLD[policy.on_timeout]}"
    return Action(policy.on_timeout, f"{waiting}; {told}", checks)


def _next(state: RolloutState, policy: RolloutPolicy, checks: tuple[Check, ...]) -> Action:
    if not state.has_stable or state.step == len(policy.steps) - 1:
        return Action("promote", "every step passed", checks)
    following = policy.steps[state.step + 1]
    return Action("advance", f"passed at {policy.steps[state.step]} %, next {following} %", checks)


def _waiting_for(
    canary: Window,
    stable: Window,
    state: RolloutState,
    policy: RolloutPolicy,
    checks: tuple[Check, ...],
    *,
    enough: bool,
) -> str:
    if not enough:
        seen = f"only {canary.requests} requests of the canary"
        if state.has_stable:
            seen += f" and {stable.requests} of the stable"
        return f"{seen}, expected {policy.min_requests}"
    return "; ".join(
        f"{check.name}: "
        + (_missing(check) if check.value is None else f"not settled, {_found(check)}")
        for check in checks
        if check.verdict != "passed"
    )


def _missing(check: Check) -> str:
    return f"no data, {check.seen}" if check.seen else "no data"


def _found(check: Check) -> str:
    seen = f"{check.seen}, " if check.seen else ""
    return f"{seen}found {check.value:.3g}, limit {check.bound:.3g}"
