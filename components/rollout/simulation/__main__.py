"""See what a policy would do: `python -m components.rollout.simulation --help`."""

from typing import Annotated

import typer
from rich.console import Console

from components.cli import run_step
from components.rollout.options import (
    Alpha,
    MaxErrorIncrease,
    MaxP50Ratio,
    MaxP95Ratio,
    MinRequests,
    Poll,
    Steps,
    StepTimeout,
)
from components.rollout.policy import RolloutPolicy, parse_steps
from components.rollout.simulation.table import rows, table

_DEFAULT = RolloutPolicy()


def main(
    steps: Steps = "5,25,50,100",
    min_requests: MinRequests = _DEFAULT.min_requests,
    alpha: Alpha = _DEFAULT.alpha,
    max_error_increase: MaxErrorIncrease = _DEFAULT.max_error_increase,
    max_p95_ratio: MaxP95Ratio = _DEFAULT.max_p95_ratio,
    max_p50_ratio: MaxP50Ratio = _DEFAULT.max_p50_ratio,
    step_timeout_s: StepTimeout = _DEFAULT.step_timeout_s,
    poll_s: Poll = _DEFAULT.poll_s,
    requests_per_s: Annotated[float, typer.Option(help="Requests of all users.")] = 100.0,
    rollouts: Annotated[int, typer.Option(help="Rollouts of each kind.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
) -> None:
    """Roll thousands of simulated canaries out and count those rolled back."""
    policy = RolloutPolicy(
        steps=parse_steps(steps),
        min_requests=min_requests,
        alpha=alpha,
        max_error_increase=max_error_increase,
        max_p95_ratio=max_p95_ratio,
        max_p50_ratio=max_p50_ratio,
        step_timeout_s=step_timeout_s,
        poll_s=poll_s,
    )
    found = rows(policy, requests_per_s=requests_per_s, rollouts=rollouts, seed=seed)
    title = (
        f"Rolled back, and after how many requests to the canary (median); {rollouts:,} rollouts, "
        f"steps {steps} %, {requests_per_s:g} requests/s, a look every {poll_s:g} s"
    )
    Console(soft_wrap=True).print(table(found, title=title))


if __name__ == "__main__":
    run_step(main)
