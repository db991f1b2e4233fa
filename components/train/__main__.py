"""Run the train step alone: `python -m components.train --help`."""

import logging
from pathlib import Path

from components.cli import run_step


def train(
    events_dir: Path,
    catalogue_dir: Path,
    schema_path: Path,
    transform_graph_dir: Path,
    model_dir: Path,
    report_path: Path,
    log_dir: Path,
    model: str = "two_tower",
    hyperparameters: str = "{}",
    seed: int = 1,
    checkpoint_root: str = "",
) -> None:
    """Train a model and export it with its three signatures."""
    from components.train.fit import train as train_model
    from components.train.settings import TrainSettings

    logging.basicConfig(level=logging.INFO)
    train_model(
        events_dir=events_dir,
        catalogue_dir=catalogue_dir,
        schema_path=schema_path,
        transform_graph_dir=transform_graph_dir,
        model_dir=model_dir,
        report_path=report_path,
        log_dir=log_dir,
        checkpoint_root=checkpoint_root,
        settings=TrainSettings(model=model, hyperparameters=hyperparameters, seed=seed),
    )


if __name__ == "__main__":
    run_step(train)
