"""Run ingest alone: `python -m components.ingest --help`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.errors import InputError
from components.ingest.config import load_config
from components.ingest.ingest import ingest


def main(
    dataset: Annotated[Path, typer.Option(help="Data-set config, YAML.")],
    events: Annotated[list[str], typer.Option(help="File or folder; may be repeated.")],
    catalogue: Annotated[list[str], typer.Option(help="File or folder; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")],
    as_of: Annotated[str, typer.Option(help="Drop events at or after this ISO date.")] = "",
) -> None:
    """Clean a shop's log and catalogue, join them and split them in time.

    Writes events/, catalogue/, schema.pbtxt and data_report.html below --out. The secret for
    hashing user ids is read from SHOPFLOW_HASH_KEY.
    """
    try:
        text = dataset.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(dataset), str(error), "a readable data-set config") from error
    summary = ingest(
        load_config(text, where=str(dataset)),
        events_uris=events,
        catalogue_uris=catalogue,
        as_of=as_of,
        hash_key=os.environ.get("SHOPFLOW_HASH_KEY", ""),
        events_dir=out / "events",
        catalogue_dir=out / "catalogue",
        schema_path=out / "schema.pbtxt",
        report_path=out / "data_report.html",
    )
    typer.echo(summary)


if __name__ == "__main__":
    run_step(main)
