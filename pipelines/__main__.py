"""Pipelines from a shell: `python -m pipelines --help`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.compress.settings import CompressSettings
from components.errors import InputError
from components.ingest.config import load_config
from components.rollout.options import BusinessMetric, MaxBusinessDrop, OnTimeoutOption
from components.rollout.policy import RolloutPolicy, parse_on_timeout
from pipelines.client import commands, schedule_commands
from pipelines.local import newest_artifact
from pipelines.local_release import release_locally
from pipelines.visits import Visit, visits_of_the_test_window

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


for command in (commands.upload, commands.run, commands.runs, commands.logs):
    app.command()(command)
app.add_typer(schedule_commands.app, name="schedule")


@app.command()
def local(
    dataset: Annotated[Path, typer.Option(help="Data-set config, YAML.")],
    events: Annotated[list[str], typer.Option(help="File or folder of the log; repeatable.")],
    catalogue: Annotated[
        list[str], typer.Option(help="File or folder of the catalogue; likewise.")
    ],
    workspace: Annotated[Path, typer.Option(help="Folder for everything made.")] = Path(
        "build/shop"
    ),
    as_of: Annotated[str, typer.Option(help="Drop events at or after this ISO date.")] = "",
    model: Annotated[str, typer.Option(help="See components/train/README.md.")] = "two_tower",
    tune_trials: Annotated[int, typer.Option(help="Trials of a search; 0 leaves it out.")] = 0,
    search_space: Annotated[str, typer.Option(help="What is searched, JSON.")] = "",
    thresholds: Annotated[str, typer.Option(help="What the gate asks for, JSON.")] = "",
    beam_option: Annotated[
        list[str] | None,
        typer.Option(help="Of Beam, for preprocess and evaluate; repeatable; see docs/beam.md."),
    ] = None,
    warm_start: Annotated[str, typer.Option(help="live, or a package to go on from.")] = "",
    compress: Annotated[str, typer.Option(help="none, float16 or int8.")] = "none",
    compress_max_drop: Annotated[float, typer.Option(help="NDCG@10 it may cost.")] = 0.001,
    service: Annotated[str, typer.Option(help="Name of the service.")] = "recommender",
    seed: Annotated[int, typer.Option(help="Seed of everything random in training.")] = 1,
    min_requests: Annotated[int, typer.Option(help="Requests a step of the rollout needs.")] = 150,
    business_metric: BusinessMetric = "",
    max_business_drop: MaxBusinessDrop = 0.1,
    on_timeout: OnTimeoutOption = "roll_back",
) -> None:
    """Run the recommender pipeline on your own data, here, and serve what it promotes.

    The rollout needs users: the purchases of the test window are replayed as theirs. Run it again
    with newer data: the model in service is then compared with, and the new one is its canary.
    """
    # A mistake is told before anything starts.
    policy = RolloutPolicy(
        min_requests=min_requests,
        business_metric=business_metric,
        max_business_drop=max_business_drop,
        on_timeout=parse_on_timeout(on_timeout),
    )
    smaller = CompressSettings(table_format=compress, max_drop=compress_max_drop)
    if beam_option:
        from components.beam_runner import pipeline_options  # it loads Beam

        pipeline_options(beam_option)
    workspace = workspace.resolve()
    state_dir = workspace / "serving"

    def visits() -> list[Visit]:
        cleaned = newest_artifact(workspace, "events")
        return visits_of_the_test_window(cleaned) if cleaned else []

    release_locally(
        {
            "dataset": _config_text(dataset),
            "events_uri": ",".join(map(_absolute, events)),
            "catalogue_uri": ",".join(map(_absolute, catalogue)),
            "as_of": as_of,
            "model_name": model,
            "tune_trials": tune_trials,
            "search_space": search_space,
            "thresholds": thresholds,
            "beam_options": beam_option or [],
            "warm_start": warm_start,
            "compress": smaller.table_format,
            "compress_max_drop": smaller.max_drop,
            "seed": seed,
            "checkpoint_root": str(workspace / "checkpoints"),
            "store_uri": str(workspace / "models"),
            "service": service,
            "platform": f"local:{state_dir}",
            "rollout_min_requests": policy.min_requests,
            "rollout_poll_s": 1.0,
            "rollout_business_metric": policy.business_metric,
            "rollout_max_business_drop": policy.max_business_drop,
            "rollout_on_timeout": policy.on_timeout,
        },
        visits=visits,
        workspace=workspace,
        stop_with=f"python -m serving.platform stop {service} --state-dir {state_dir}",
        console=Console(soft_wrap=True),
    )


def _config_text(file: Path) -> str:
    """Return the config's text after checking it: a mistake is told before anything starts."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), str(error), "a readable data-set config") from error
    load_config(text, where=str(file))
    return text


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).expanduser().resolve())


if __name__ == "__main__":
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
