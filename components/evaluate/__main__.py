"""Run evaluate alone: `python -m components.evaluate --help`."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.errors import InputError


def main(
    events: Annotated[Path, typer.Option(help="Events, split by time.")],
    catalogue: Annotated[Path, typer.Option(help="Catalogue.")],
    model: Annotated[Path, typer.Option(help="The candidate's SavedModel.")],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")],
    live: Annotated[str, typer.Option(help="URI of the live model's package.")] = "",
    thresholds: Annotated[Path | None, typer.Option(help="JSON file; none = defaults.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Model the candidate was made of.")] = None,
    max_reference_drop: Annotated[float, typer.Option(help="NDCG@k it may lose to it.")] = 0.001,
    k: Annotated[int, typer.Option(help="Cut-off of HR@k and NDCG@k.")] = 10,
    max_examples: Annotated[int, typer.Option(help="Examples to sample at most.")] = 20_000,
    beam_option: Annotated[list[str] | None, typer.Option(help="Of Beam; repeatable.")] = None,
) -> None:
    """Measure a candidate against the live model and baselines; decide whether it may go on.

    Writes evaluation/, blessing.json and evaluation_report.html below --out.
    """
    from components.evaluate.evaluate import evaluate, evaluate_settings
    from components.live_model import fetch_package

    try:
        text = thresholds.read_text(encoding="utf-8") if thresholds else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(thresholds), str(error), "a readable JSON file") from error
    with tempfile.TemporaryDirectory() as scratch:
        blessing = evaluate(
            events_dir=events,
            catalogue_dir=catalogue,
            model_dir=model,
            live_model_dir=fetch_package(live, target=Path(scratch)) if live else None,
            evaluation_dir=out / "evaluation",
            blessing_path=out / "blessing.json",
            report_path=out / "evaluation_report.html",
            settings=evaluate_settings(
                thresholds=text,
                k=k,
                max_examples=max_examples,
                max_drop=max_reference_drop,
                beam_options=beam_option or [],
            ),
            reference_model_dir=reference,
        )
    verdict = "blessed" if blessing.blessed else "refused"
    typer.echo(f"{verdict}: {blessing.reason}")


if __name__ == "__main__":
    run_step(main)
