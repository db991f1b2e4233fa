"""Run the preprocess step alone: `python -m components.preprocess --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step

Required = Annotated[Path, typer.Option()]


def preprocess(
    events_dir: Required,
    schema_path: Required,
    transform_graph_dir: Required,
    beam_option: list[str] | None = None,
    vocabulary_size: int = 200_000,
    min_frequency: int = 1,
    oov_buckets: int = 8,
    numeric_buckets: int = 10,
    ngrams: int = 2,
) -> None:
    """Fit the transform graph on the train split."""
    from components.preprocess.settings import PreprocessSettings
    from components.preprocess.transform import fit_transform_graph

    # force: importing TensorFlow has already given the root logger a handler, at WARNING.
    logging.basicConfig(level=logging.INFO, force=True)
    settings = PreprocessSettings(
        vocabulary_size=vocabulary_size,
        min_frequency=min_frequency,
        oov_buckets=oov_buckets,
        numeric_buckets=numeric_buckets,
        ngrams=ngrams,
    )
    fit_transform_graph(
        events_dir=events_dir,
        schema_path=schema_path,
        transform_graph_dir=transform_graph_dir,
        settings=settings,
        beam_options=beam_option or [],
    )


if __name__ == "__main__":
    run_step(preprocess)
