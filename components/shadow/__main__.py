"""Run the step alone: `python -m components.shadow --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.shadow.settings import ShadowSettings
from components.shadow.shadow import shadow

_DEFAULT = ShadowSettings()


def main(
    release: Annotated[Path, typer.Option(help="The deploy step's release, JSON.")],
    events: Annotated[Path, typer.Option(help="Folder with train, eval and test.")],
    result: Annotated[Path, typer.Option(help="JSON file to write.")],
    report: Annotated[Path, typer.Option(help="HTML page to write.")],
    requests: Annotated[int, typer.Option(help="Requests to replay.")] = _DEFAULT.requests,
    requests_uri: Annotated[str, typer.Option(help="Logged requests, a v1 body per line.")] = "",
    max_error_rate: Annotated[
        float, typer.Option(help="Share of answers that may fail.")
    ] = _DEFAULT.max_error_rate,
    max_median_ratio: Annotated[
        float, typer.Option(help="Candidate's median over the stable's.")
    ] = _DEFAULT.max_median_ratio,
    min_overlap: Annotated[float, typer.Option(help="Least mean overlap@k.")] = 0.0,
) -> None:
    """Let a candidate at 0 % traffic answer requests beside the stable model, and compare."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    shadow(
        release_path=release,
        events_dir=events,
        settings=ShadowSettings(
            requests=requests,
            requests_uri=requests_uri,
            max_error_rate=max_error_rate,
            max_median_ratio=max_median_ratio,
            min_overlap=min_overlap,
        ),
        result_path=result,
        report_path=report,
    )


if __name__ == "__main__":
    run_step(main)
