"""Run the step alone: `python -m components.notify --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.errors import InputError
from components.notify.ending import read_state
from components.notify.notify import EndedRun, Receiver, notify


def main(
    run_id: Annotated[str, typer.Option(help="The run that ended.")],
    state: Annotated[str, typer.Option(help="SUCCEEDED, FAILED or CANCELLED.")],
    folder: Annotated[Path, typer.Option(help="Folder of a local run, with one a task.")],
    service: Annotated[str, typer.Option(help="Name of the InferenceService.")],
    notice: Annotated[Path, typer.Option(help="JSON file to write.")],
    pipeline: Annotated[str, typer.Option(help="Its pipeline.")] = "shopflow-recommender",
    platform: Annotated[
        str, typer.Option(help="local[:<state folder>] or kserve[:k=v,…].")
    ] = "local",
    namespace: Annotated[str, typer.Option(help="Namespace of the service.")] = "default",
    successes: Annotated[bool, typer.Option(help="Tell of runs that succeeded, too.")] = True,
    link: Annotated[str, typer.Option(help="Address of a run, with {run_id} in it.")] = "",
) -> None:
    """Report how a run ended, to the webhook in SHOPFLOW_NOTIFY_URL; delete what it left behind."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    told = read_state(state)
    if told == "UNKNOWN":
        raise InputError("--state", repr(state), "SUCCEEDED, FAILED or CANCELLED")
    run = EndedRun(
        run_id=run_id,
        pipeline=pipeline,
        service=service,
        platform=platform,
        namespace=namespace,
        told=told,
        folder=folder,
        link=link,
    )
    # An address on the command line would be in every list of processes.
    receiver = Receiver.given("", only_failures=not successes)
    notify(run, receiver, notice_path=notice)


if __name__ == "__main__":
    run_step(main)
