"""Run the step alone: `python -m components.rollout --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.rollout.options import (
    Alpha,
    BusinessMetric,
    MaxBusinessDrop,
    MaxErrorIncrease,
    MaxP50Ratio,
    MaxP95Ratio,
    MinRequests,
    OnTimeoutOption,
    Poll,
    Steps,
    StepTimeout,
)
from components.rollout.policy import RolloutPolicy, parse_on_timeout, parse_steps
from components.rollout.rollout import roll_out

_DEFAULT = RolloutPolicy()


def main(
    release: Annotated[Path, typer.Option(help="The deploy step's release, JSON.")],
    evidence: Annotated[Path, typer.Option(help="JSON file to write.")],
    report: Annotated[Path, typer.Option(help="HTML page to write.")],
    steps: Steps = "5,25,50,100",
    min_requests: MinRequests = 500,
    alpha: Alpha = _DEFAULT.alpha,
    max_error_increase: MaxErrorIncrease = _DEFAULT.max_error_increase,
    max_p95_ratio: MaxP95Ratio = _DEFAULT.max_p95_ratio,
    max_p50_ratio: MaxP50Ratio = _DEFAULT.max_p50_ratio,
    business_metric: BusinessMetric = _DEFAULT.business_metric,
    max_business_drop: MaxBusinessDrop = _DEFAULT.max_business_drop,
    step_timeout_s: StepTimeout = _DEFAULT.step_timeout_s,
    on_timeout: OnTimeoutOption = _DEFAULT.on_timeout,
    poll_s: Poll = _DEFAULT.poll_s,
) -> None:
    """Move the users to a candidate step by step; promote it, or roll it back."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    policy = RolloutPolicy(
        steps=parse_steps(steps),
        min_requests=min_requests,
        alpha=alpha,
        max_error_increase=max_error_increase,
        max_p95_ratio=max_p95_ratio,
        max_p50_ratio=max_p50_ratio,
        business_metric=business_metric,
        max_business_drop=max_business_drop,
        step_timeout_s=step_timeout_s,
        on_timeout=parse_on_timeout(on_timeout),
        poll_s=poll_s,
    )
    outcome = roll_out(
        release_path=release, policy=policy, outcome_path=evidence, report_path=report
    )
    outcome.raise_if_undecided()
    outcome.raise_if_rolled_back()


if __name__ == "__main__":
    run_step(main)
