"""Run the step alone: `python -m components.package --help`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.keys import given_key
from components.package.package import publish
from serving.signature import SIGNING_KEY


def main(
    model: Annotated[Path, typer.Option(help="The SavedModel's folder.")],
    blessing: Annotated[Path, typer.Option(help="The gate's blessing, JSON.")],
    evaluation: Annotated[Path, typer.Option(help="Folder with metrics.json.")],
    schema: Annotated[Path, typer.Option(help="schema.pbtxt of the data.")],
    events: Annotated[Path, typer.Option(help="Folder with train, eval and test.")],
    store: Annotated[str, typer.Option(help="Folder or gs:// prefix of published models.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
) -> None:
    """Publish a blessed model as a new version; prints its URI."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    published = publish(
        model_dir=model,
        blessing_path=blessing,
        schema_path=schema,
        evaluation_dir=evaluation,
        events_dir=events,
        store_uri=store,
        name=name,
        lineage={"run": "by hand", "model": str(model), "events": str(events)},
        signing_key=given_key(SIGNING_KEY),
    )
    print(published.uri)


if __name__ == "__main__":
    run_step(main)
