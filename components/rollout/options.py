"""Options of the command line that say a policy: of the rollout, and of its simulation."""

from typing import Annotated

import typer

Steps = Annotated[str, typer.Option(help="Canary's share in percent.")]
MinRequests = Annotated[int, typer.Option(help="Requests a step needs.")]
Alpha = Annotated[float, typer.Option(help="Risk of a false alarm.")]
MaxErrorIncrease = Annotated[float, typer.Option(help="Canary's share of 5xx above the stable's.")]
MaxP95Ratio = Annotated[float, typer.Option(help="Canary's p95 over the stable's.")]
MaxP50Ratio = Annotated[float, typer.Option(help="Canary's median over the stable's.")]
BusinessMetric = Annotated[str, typer.Option(help="Name of a metric of feedback to test.")]
MaxBusinessDrop = Annotated[
    float, typer.Option(help="Canary's share of successes below the stable's.")
]
OnTimeoutOption = Annotated[str, typer.Option(help="What follows: roll_back, hold or fail.")]
StepTimeout = Annotated[float, typer.Option(help="Longest wait for evidence, s.")]
Poll = Annotated[float, typer.Option(help="Time between two looks, s.")]
