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
    max_error_rate: float = 0.01,
    max_p95_ratio: float = 1.5,
    max_p50_ratio: float = 1.5,
    max_p95_ms: float = 1000.0,
    step_timeout_s: float = 3600.0,
    poll_s: float = 5.0,
    fail_on_rollback: bool = True,
) -> str:
    """Move the users to a candidate step by step; promote it, or roll it back.

    Args:
        release: The deploy step's release.
        outcome: How it ended, and what every step measured and decided, as JSON.
        rollout_report: The same for people.
        steps: The canary's share of the users in percent, rising to 100.
        min_requests: Requests each revision must have answered in a step.
        alpha: Risk of a false alarm at the end of a step.
        max_error_rate: Limit of 5xx answers on a first release.
        max_p95_ratio: How many times slower than the stable the canary's p95 may be.
        max_p50_ratio: The same for the median.
        max_p95_ms: Limit of the p95 on a first release.
        step_timeout_s: How long a step may wait for its evidence before it is rolled back.
        poll_s: Time between two looks at the metrics.
        fail_on_rollback: Whether a roll-back fails the step, after the evidence is written.

    Returns:
        "promoted" or "rolled_back".
    """
    from pathlib import Path

    from components.rollout.policy import RolloutPolicy, parse_steps
    from components.rollout.rollout import roll_out

    result = roll_out(
        release_path=Path(release.path),
        policy=RolloutPolicy(
            steps=parse_steps(steps),
            min_requests=min_requests,
            alpha=alpha,
            max_error_rate=max_error_rate,
            max_p95_ratio=max_p95_ratio,
            max_p50_ratio=max_p50_ratio,
            max_p95_ms=max_p95_ms,
            step_timeout_s=step_timeout_s,
            poll_s=poll_s,
        ),
        outcome_path=Path(outcome.path),
        report_path=Path(rollout_report.path),
    )
    if fail_on_rollback:
        result.raise_if_rolled_back()
    return result.outcome
