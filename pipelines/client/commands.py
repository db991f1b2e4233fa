"""The client's commands: upload, run, runs, logs."""

import datetime
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from pipelines.client import logs as step_logs
from pipelines.client import options
from pipelines.client import runs as server_runs
from pipelines.client.connection import Kubeflow
from pipelines.client.options import with_access
from pipelines.client.package import CompiledPipeline, read_package
from pipelines.client.parameters import read_parameters
from pipelines.client.versions import Version
from pipelines.client.versions import upload as upload_version
from pipelines.local import step_line, step_progress

Work = Callable[[Kubeflow], None]


def show_version(pipeline: CompiledPipeline, version: Version) -> None:
    """Say which version the server has now, and whether it had it before."""
    did = "uploaded" if version.uploaded else "already there"
    print(f"{pipeline.name}: version {version.name} {did} ({version.version_id})")


@with_access
def upload(
    file: options.File, pipeline_name: options.PipelineName = "", version: options.VersionName = ""
) -> Work:
    """Upload a compiled pipeline; the same content is never uploaded twice."""
    pipeline = read_package(file)

    def work(kubeflow: Kubeflow) -> None:
        done = upload_version(kubeflow, pipeline, name=pipeline_name, version=version)
        show_version(pipeline, done)

    return work


@with_access
def run(
    file: options.File,
    parameter: options.Given = [],  # noqa: B006 - typer's way of an option that may be missing
    parameter_file: options.ParameterFile = None,
    name: Annotated[str, typer.Option(help="Name of the run; name and time by default.")] = "",
    experiment: options.Experiment = "Default",
    pipeline_name: options.PipelineName = "",
    version: options.VersionName = "",
    pipeline_root: options.PipelineRoot = "",
    service_account: options.ServiceAccount = "",
    wait: Annotated[bool, typer.Option(help="Follow it; fail if it fails.")] = False,
    poll_s: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
) -> Work:
    """Start a run, uploading the pipeline if the server lacks it."""
    pipeline = read_package(file)
    values = read_parameters(pipeline, file=parameter_file, given=parameter)
    title = name or f"{pipeline.name} {datetime.datetime.now():%Y-%m-%d %H-%M-%S}"

    def work(kubeflow: Kubeflow) -> None:
        uploaded = upload_version(kubeflow, pipeline, name=pipeline_name, version=version)
        show_version(pipeline, uploaded)
        run_id = server_runs.start(
            kubeflow,
            uploaded,
            values,
            name=title,
            experiment=experiment,
            pipeline_root=pipeline_root,
            service_account=service_account,
        )
        print(f"run {run_id} started: {kubeflow.host}/#/runs/details/{run_id}")
        if wait:
            _follow(kubeflow, run_id, poll_s)

    return work


@with_access
def runs(limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20) -> Work:
    """List the runs."""

    def work(kubeflow: Kubeflow) -> None:
        table = Table(
            Column("run", overflow="fold"),
            "state",
            "created (UTC)",
            "took",
            Column("id", min_width=36),
        )
        for one in server_runs.listed(kubeflow, limit=limit):
            took = server_runs.seconds_of(one)
            table.add_row(
                escape(one.display_name),
                (one.state or "").lower(),
                f"{one.created_at:%Y-%m-%d %H:%M:%S}",
                "–" if took is None else f"{took:,.0f} s",
                one.run_id,
            )
        Console(soft_wrap=True).print(table)

    return work


@with_access
def logs(
    run_id: Annotated[str, typer.Argument(help="The run, as `runs` lists it.")],
    step: Annotated[str, typer.Argument(help="The step, such as train.")],
) -> Work:
    """Print what a step of a run wrote."""

    def work(kubeflow: Kubeflow) -> None:
        print(step_logs.log_of(kubeflow, run_id, step), end="")

    return work


def _follow(kubeflow: Kubeflow, run_id: str, poll_s: float) -> None:
    """Show a run's steps as they end; leave with 1 unless it succeeds."""
    console = Console(soft_wrap=True)
    with step_progress(console) as progress:
        shown = progress.add_task("starting", said="")

        def report(step: server_runs.Step) -> None:
            if step.state == "RUNNING":
                progress.reset(shown, description=step.name, said="")
            elif step.state in server_runs.DONE:
                said = "" if step.state == "SUCCEEDED" else step.state.lower()
                line = step_line(step.name, step.state != "FAILED", step.seconds or 0.0, said)
                progress.console.print(line, highlight=False)

        outcome = server_runs.follow(kubeflow, run_id, poll_s=poll_s, report=report)
    if outcome.state == "SUCCEEDED":
        print("every step passed")
        return
    step = f" at {outcome.failed_step}" if outcome.failed_step else ""
    reason = " ".join((outcome.reason or "no reason given").split())
    typer.echo(f"error: run {run_id} {outcome.state.lower()}{step}: {reason}", err=True)
    raise typer.Exit(1)
