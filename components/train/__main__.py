"""Run the train step alone: `python -m components.train --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step

Required = Annotated[Path, typer.Option()]


def train(
    events_dir: Required,
    catalogue_dir: Required,
    schema_path: Required,
    transform_graph_dir: Required,
    model_dir: Required,
    report_path: Required,
    log_dir: Required,
    model: str = "two_tower",
    hyperparameters: str = "{}",
    attempt: int = 1,
    seed: int = 1,
    checkpoint_root: str = "",
    explain: bool = False,
    strategy: str = "auto",
    precision: str = "float32",
    warm_start: str = "",
    warm_start_mismatch: str = "refuse",
) -> None:
    """Train a model and export it with its signatures."""
    from components.train.fit import train as train_model
    from components.train.settings import DeviceSettings, TrainSettings, WarmStart

    # force: importing TensorFlow has already given the root logger a handler, at WARNING.
    logging.basicConfig(level=logging.INFO, force=True)
    train_model(
        events_dir=events_dir,
        catalogue_dir=catalogue_dir,
        schema_path=schema_path,
        transform_graph_dir=transform_graph_dir,
        model_dir=model_dir,
        report_path=report_path,
        log_dir=log_dir,
        checkpoint_root=checkpoint_root,
        settings=TrainSettings(
            model=model,
            hyperparameters=hyperparameters,
            attempt=attempt,
            seed=seed,
            explain=explain,
            devices=DeviceSettings(strategy=strategy, precision=precision),
            warm_start=WarmStart(warm_start, warm_start_mismatch),
        ),
    )


if __name__ == "__main__":
    run_step(train)
