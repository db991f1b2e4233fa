"""One run on this machine beside replayed traffic, from data to a service that answers."""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.errors import InputError
from pipelines.local import run_locally
from pipelines.summary import collect_reports, forget_old_runs, show_run
from pipelines.traffic import TrafficReplay, curl_line, recommend_body
from pipelines.visits import Visit
from serving.platform import connect


def release_locally(
    arguments: Mapping[str, object],
    *,
    visits: Callable[[], Sequence[Visit]],
    workspace: Path,
    stop_with: str,
    console: Console,
) -> None:
    """Run the pipeline, replay visits while its model is rolled out, and show how it went.

    Exits with code 1 when a step fails, after the summary.

    Args:
        arguments: The pipeline's parameters; `platform` must be a local one.
        visits: Returns what to replay; called when a revision first takes traffic.
        workspace: Folder for the run's artifacts and reports.
        stop_with: The command that stops the servers, to show.
        console: Where to print.
    """
    platform, service = str(arguments["platform"]), str(arguments["service"])
    with TrafficReplay(visits, platform=platform, service=service) as traffic:
        run = run_locally(
            ("pipelines.recommender", "recommender"),
            arguments,
            workspace=workspace,
            console=console,
        )
    reports = collect_reports(run, workspace / "reports")
    show_run(run, console)
    console.print(_replayed(traffic))
    for report in reports:
        console.print(f"report: {report}")
    forget_old_runs(workspace / "runs")
    if run.failed_step:
        console.print(f"[red]{run.failed_step} failed:[/red] {escape(run.reason)}")
        sys.exit(1)
    serving = connect(platform)
    status = serving.status(service)
    if status.url is None:
        raise InputError(f"service {service}", "no URL", "one, after a successful rollout")
    first = traffic.visits[0]
    body = recommend_body(dataclasses.replace(first, history=first.history[-3:]), k=5)
    answer = serving.predict(service, body).body
    console.print(f"\nIt is serving now; ask it, or stop it with `{stop_with}`:")
    # Not by rich: it would wrap the line, and a wrapped line does not copy.
    print(curl_line(status.url, service, body))
    print(json.dumps(answer, separators=(",", ":"), ensure_ascii=False))


def _replayed(traffic: TrafficReplay) -> str:
    users = len({visit.user for visit in traffic.visits})
    lost = traffic.reports.total() - traffic.reports[204]
    return (
        f"Replayed {traffic.responses.total():,} requests from {len(traffic.visits):,} shopping "
        f"days of {users:,} users; by status {dict(traffic.responses)}; {traffic.hits:,} of the "
        "answers held an item that was bought that day"
        + (f"; {lost:,} reports of that by status {dict(traffic.reports)}." if lost else ".")
    )
