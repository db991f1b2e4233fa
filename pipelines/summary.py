"""What a local run shows at its end: reports in one place, and its results as tables."""

import json
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.local import Run

# Runs whose artifacts are kept; each is some 100 MB.
KEPT_RUNS = 2
_FEW_ANSWERS = 30  # the share of fewer is chance
REPORTS = (
    "data_report",
    "tuning_report",
    "training_report",
    "evaluation_report",
    "compress_report",
    "shadow_report",
    "rollout_report",
)


def collect_reports(run: Run, folder: Path) -> list[Path]:
    """Copy the run's pages to one place under names a browser opens."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [(name, run.artifact(name)) for name in REPORTS]
    return [Path(shutil.copyfile(path, folder / f"{name}.html")) for name, path in found if path]


def forget_old_runs(folder: Path) -> None:
    """Delete the artifacts of all runs below a folder but the last `KEPT_RUNS`."""
    for old in sorted(folder.iterdir())[:-KEPT_RUNS]:
        shutil.rmtree(old)


def _read(run: Run, artifact: str, file: str = "") -> dict[str, Any] | None:
    path = run.artifact(artifact)
    if path is None:
        return None
    content: dict[str, Any] = json.loads((path / file).read_text(encoding="utf-8"))
    return content


def show_run(run: Run, console: Console) -> None:
    """Print what was cleaned, the evaluation with the gate's verdict, and the rollout's steps."""
    _show_cleaning(run, console)
    _show_evaluation(run, console)
    _show_rollout(run, console)


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
    gate = "The gate, on the smaller model" if "reference" in models else "The gate"
    console.print(f"{gate}: {verdict}, {escape(blessing['reason'])}")


def _show_rollout(run: Run, console: Console) -> None:
    outcome = _read(run, "outcome")
    if outcome is None:
        return
    title = f"Rollout of {outcome['candidate']['revision']}: {outcome['outcome']}"
    metric = outcome["policy"]["business_metric"]
    # Broken by hand, so that the table fits into 80 columns.
    compared = (f"{metric}, %\n/ stable",) if metric else ()
    columns = ("canary", "requests", "errors", "p95 ms", "stable\np95 ms", *compared, "decision")
    table = Table(*columns, title=title, title_justify="left")
    for step in outcome["steps"]:
        canary, stable = step["canary"], step["stable"]
        cells = (f"{step['traffic_percent']} %", f"{canary['requests']:,}", str(canary["errors"]))
        p95s = ("–" if w["p95_ms"] is None else f"{w['p95_ms']:.1f}" for w in (canary, stable))
        rates = " / ".join(_rate(one["feedback"]) for one in (canary, stable))
        table.add_row(*cells, *p95s, *([rates] if metric else []), step["action"])
    console.print(table)
    console.print(escape(outcome["reason"]))


def _rate(feedback: dict[str, int] | None) -> str:
    if not feedback or feedback["trials"] < _FEW_ANSWERS:
        return "–"
    return f"{100 * feedback['successes'] / feedback['trials']:.1f}"
