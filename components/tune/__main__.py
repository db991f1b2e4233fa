"""Run the tune step alone: `python -m components.tune --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step


def tune(
    study: Annotated[str, typer.Option(help="What `python -m components.train.trials` printed.")],
    report_path: Annotated[Path, typer.Option()],
    trials: Annotated[int, typer.Option(help="Trials that must have ended.")] = 1,
    hyperparameters: str = "{}",
) -> None:
    """Print the best hyper-parameters of a study as JSON, and write its page."""
    from components.tune.tune import tune as end_study

    logging.basicConfig(level=logging.INFO)
    print(
        end_study([study], trials=trials, hyperparameters=hyperparameters, report_path=report_path)
    )


if __name__ == "__main__":
    run_step(tune)
