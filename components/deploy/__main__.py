"""Run the step alone: `python -m components.deploy --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.deploy.deploy import deploy
from components.deploy.settings import parse_settings


def main(
    package_uri: Annotated[str, typer.Option(help="Published version: folder or gs:// URI.")],
    service: Annotated[str, typer.Option(help="Name of the InferenceService.")],
    release: Annotated[Path, typer.Option(help="JSON file to write.")],
    platform: Annotated[
        str, typer.Option(help="local[:<state folder>] or kserve[:k=v,…].")
    ] = "local",
    namespace: Annotated[str, typer.Option(help="Namespace of the service.")] = "default",
    ready_timeout_s: Annotated[float, typer.Option(help="Time to become ready, s.")] = 300.0,
    latency_budget_ms: Annotated[
        float, typer.Option(help="Limit of the golden requests' median latency.")
    ] = 500.0,
    tf_threads: Annotated[int, typer.Option(min=1, help="TensorFlow threads a server.")] = 1,
    serving: Annotated[str, typer.Option(help="More settings, a JSON object; see README.")] = "",
    run_id: Annotated[str, typer.Option(help="The run this is part of, for the record.")] = "",
) -> None:
    """Make a published package the canary of a service: ready, smoke-tested, at 0 % traffic."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    deploy(
        package_uri=package_uri,
        service=service,
        platform=platform,
        namespace=namespace,
        settings=parse_settings(
            serving,
            ready_timeout_s=ready_timeout_s,
            latency_budget_ms=latency_budget_ms,
            tf_threads=tf_threads,
        ),
        release_path=release,
        run_id=run_id,
    )


if __name__ == "__main__":
    run_step(main)
