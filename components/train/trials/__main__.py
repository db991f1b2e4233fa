"""Run trials of a search alone: `python -m components.train.trials --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step

Required = Annotated[Path, typer.Option()]


def trials(
    events_dir: Required,
    catalogue_dir: Required,
    schema_path: Required,
    transform_graph_dir: Required,
    study_root: Annotated[str, typer.Option(help="Folder or gs:// prefix.")],
    trials: int = 12,
    model: str = "two_tower",
    hyperparameters: str = "{}",
    search_space: str = "",
    seed: int = 1,
    checkpoint_root: str = "",
    worker: int = 0,
    workers: int = 1,
) -> None:
    """Search for hyper-parameters; prints where the study is, for `python -m components.tune`."""
    from components.train.settings import TrainSettings
    from components.train.trials.settings import SearchSettings
    from components.train.trials.worker import run_trials

    # force: importing TensorFlow has already given the root logger a handler, at WARNING.
    logging.basicConfig(level=logging.INFO, force=True)
    settings = TrainSettings(model=model, hyperparameters=hyperparameters, seed=seed)
    study = run_trials(
        events_dir=events_dir,
        catalogue_dir=catalogue_dir,
        schema_path=schema_path,
        transform_graph_dir=transform_graph_dir,
        search=SearchSettings(train=settings, space=search_space, trials=trials),
        study_root=study_root,
        checkpoint_root=checkpoint_root,
        worker=worker,
        workers=workers,
    )
    print(study)


if __name__ == "__main__":
    run_step(trials)
