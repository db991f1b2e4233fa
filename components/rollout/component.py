"""The rollout step's KFP interface."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def rollout(
    release: dsl.Input[dsl.Artifact],
    outcome: dsl.Output[dsl.Artifact],
    rollout_report: dsl.Output[dsl.HTML],
    steps: str = "5,25,50,100",
    min_requests: int = 500,
    alpha: float = 0.01,
    max_error_increase: float = 0.005,
    max_p95_ratio: float = 1.2,
    max_p50_ratio: float = 1.2,
    latency_floor_ms: float = 5.0,
    business_metric: str = "",
    max_business_drop: float = 0.005,
    max_error_rate: float = 0.01,
    max_p95_ms: float = 1000.0,
    step_timeout_s: float = 3600.0,
    on_timeout: str = "roll_back",
    poll_s: float = 5.0,
    fail_on_rollback: bool = True,
) -> str:
    """Move the users to a candidate step by step; promote it, or roll it back.

    Args:
        release: The deploy step's release.
        outcome: How it ended, and what every step measured and decided, as JSON.
        rollout_report: The same for people.
        steps: The canary's share of the users in percent, rising to 100.
        min_requests: Requests each revision must have answered before a step may advance.
        alpha: Risk that the rollout takes a good candidate back, whatever the number of looks.
        max_error_increase: How much larger than the stable's the share of 5xx answers may be.
        max_p95_ratio: How many times slower than the stable the canary's p95 may be.
        max_p50_ratio: The same for the median.
        latency_floor_ms: A p95 or median this much slower is always allowed.
        business_metric: Name of a metric of feedback to ask for; empty asks for none.
        max_business_drop: How much smaller than the stable's its share of successes may be.
        max_error_rate: Limit of 5xx answers on a first release.
        max_p95_ms: Limit of the p95 on a first release.
        step_timeout_s: How long a step may wait for its evidence.
        on_timeout: What happens then: roll_back, hold or fail.
        poll_s: Time between two looks at the metrics.
        fail_on_rollback: Whether a roll-back fails the step, after the evidence is written.

    Returns:
        "promoted" or "rolled_back".
    """
    from pathlib import Path

    from components.rollout.policy import RolloutPolicy, parse_on_timeout, parse_steps
    from components.rollout.rollout import roll_out

    result = roll_out(
        release_path=Path(release.path),
        policy=RolloutPolicy(
            steps=parse_steps(steps),
            min_requests=min_requests,
            alpha=alpha,
            max_error_increase=max_error_increase,
            max_p95_ratio=max_p95_ratio,
            max_p50_ratio=max_p50_ratio,
            latency_floor_ms=latency_floor_ms,
            business_metric=business_metric,
            max_business_drop=max_business_drop,
            max_error_rate=max_error_rate,
            max_p95_ms=max_p95_ms,
            step_timeout_s=step_timeout_s,
            on_timeout=parse_on_timeout(on_timeout),
            poll_s=poll_s,
        ),
        outcome_path=Path(outcome.path),
        report_path=Path(rollout_report.path),
    )
    result.raise_if_undecided()
    if fail_on_rollback:
        result.raise_if_rolled_back()
    return result.outcome
