"""See what a policy would do: `python -m components.rollout.simulation --help`."""

from typing import Annotated

import typer
from rich.console import Console

from components.cli import run_step
from components.rollout.policy import RolloutPolicy, parse_steps
from components.rollout.simulation.table import rows, table

_DEFAULT = RolloutPolicy()


def main(
    steps: Annotated[str, typer.Option(help="Canary's share in percent.")] = "5,25,50,100",
    min_requests: Annotated[
        int, typer.Option(help="Requests a step needs.")
    ] = _DEFAULT.min_requests,
    alpha: Annotated[float, typer.Option(help="Risk of a false alarm.")] = _DEFAULT.alpha,
    max_error_increase: Annotated[
        float, typer.Option(help="Canary's share of 5xx above the stable's.")
    ] = _DEFAULT.max_error_increase,
    max_p95_ratio: Annotated[
        float, typer.Option(help="Canary's p95 over the stable's.")
    ] = _DEFAULT.max_p95_ratio,
    max_p50_ratio: Annotated[
        float, typer.Option(help="Canary's median over the stable's.")
    ] = _DEFAULT.max_p50_ratio,
    step_timeout_s: Annotated[
        float, typer.Option(help="Longest wait for evidence, s.")
    ] = _DEFAULT.step_timeout_s,
    poll_s: Annotated[float, typer.Option(help="Time between two looks, s.")] = _DEFAULT.poll_s,
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
