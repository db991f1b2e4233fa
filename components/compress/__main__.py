"""Run the compress step alone: `python -m components.compress --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step


def main(
    model: Annotated[Path, typer.Option(help="The trained SavedModel.")],
    events: Annotated[Path, typer.Option(help="Events, split by time.")],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")],
    table_format: Annotated[str, typer.Option(help="float16 or int8.")] = "int8",
) -> None:
    """Make a smaller model; writes model/ and compress_report.html below --out."""
    from components.compress.compress import compress

    # force: importing TensorFlow has already given the root logger a handler, at WARNING.
    logging.basicConfig(level=logging.INFO, force=True)
    compress(
        model_dir=model,
        events_dir=events,
        smaller_dir=out / "model",
        report_path=out / "compress_report.html",
        table_format=table_format,
    )


if __name__ == "__main__":
    run_step(main)
