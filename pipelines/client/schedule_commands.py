"""The client's `schedule` commands: apply, list, start, stop, delete."""

import datetime
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from components.errors import InputError
from pipelines.client import options, schedules
from pipelines.client.commands import Work, show_version
from pipelines.client.connection import Kubeflow
from pipelines.client.cron import kubeflow_cron
from pipelines.client.options import with_access
from pipelines.client.package import read_package
from pipelines.client.parameters import read_parameters
from pipelines.client.schedules import When
from pipelines.client.versions import upload

app = typer.Typer(help="Recurring runs: apply, list, start, stop, delete.")

_EVERY = re.compile(r"([1-9]\d*)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Name = Annotated[str, typer.Argument(help="Name of the recurring run.")]


@app.command("apply")
@with_access
def apply(
    file: options.File,
    cron: Annotated[str, typer.Option(help="minute hour day month weekday; UTC.")] = "",
    every: Annotated[str, typer.Option(help="An interval: 90m, 12h, 1d.")] = "",
    parameter: options.Given = [],  # noqa: B006 - typer's way of an option that may be missing
    parameter_file: options.ParameterFile = None,
    name: Annotated[str, typer.Option(help="Its name; the pipeline's by default.")] = "",
    experiment: options.Experiment = "Default",
    catch_up: Annotated[bool, typer.Option(help="Make up for missed runs.")] = False,
    max_concurrency: Annotated[int, typer.Option(help="Runs at a time.", min=1, max=10)] = 1,
    pipeline_name: options.PipelineName = "",
    version: options.VersionName = "",
    pipeline_root: options.PipelineRoot = "",
    service_account: options.ServiceAccount = "",
) -> Work:
    """Leave one recurring run of that name, with this version, parameters and time."""
    pipeline = read_package(file)
    values = read_parameters(pipeline, file=parameter_file, given=parameter)
    when = read_when(cron, every, catch_up=catch_up, max_concurrency=max_concurrency)

    def work(kubeflow: Kubeflow) -> None:
        uploaded = upload(kubeflow, pipeline, name=pipeline_name, version=version)
        show_version(pipeline, uploaded)
        title = name or pipeline.name
        done = schedules.schedule(
            kubeflow,
            uploaded,
            values,
            when,
            name=title,
            experiment=experiment,
            pipeline_root=pipeline_root,
            service_account=service_account,
        )
        print(f"schedule {title}: {done}, {schedules.state(kubeflow, title)}")

    return work


@app.command("list")
@with_access
def list_() -> Work:
    """List the recurring runs."""

    def work(kubeflow: Kubeflow) -> None:
        table = Table(
            Column("schedule", overflow="fold"),
            "when",
            "state",
            "at a time",
            Column("id", min_width=36),
        )
        for one in schedules.find(kubeflow):
            table.add_row(
                escape(one.display_name),
                escape(_when(one)),
                schedules.word(one),
                one.max_concurrency,
                one.recurring_run_id,
            )
        Console(soft_wrap=True).print(table)

    return work


@app.command("start")
@with_access
def start(name: Name) -> Work:
    """Let a recurring run start runs again."""
    return lambda kubeflow: _each(kubeflow, name, schedules.start, "started")


@app.command("stop")
@with_access
def stop(name: Name) -> Work:
    """Keep a recurring run from starting runs; those that go on are left alone."""
    return lambda kubeflow: _each(kubeflow, name, schedules.stop, "stopped")


@app.command("delete")
@with_access
def delete(name: Name) -> Work:
    """Delete a recurring run; its runs stay."""
    return lambda kubeflow: _each(kubeflow, name, schedules.delete, "deleted")


def read_when(cron: str, every: str, *, catch_up: bool, max_concurrency: int) -> When:
    """Return when a recurring run runs.

    Raises:
        InputError: If not exactly one of the two is given, or it is malformed or never comes.
    """
    if bool(cron) == bool(every):
        found = "both --cron and --every" if cron else "neither --cron nor --every"
        raise InputError("schedule", found, "one of the two")
    if cron:
        return When(
            cron=kubeflow_cron(cron, today=datetime.date.today()),
            catch_up=catch_up,
            max_concurrency=max_concurrency,
        )
    if (match := _EVERY.fullmatch(every)) is None:
        raise InputError("--every", repr(every), "a number and s, m, h or d, such as 12h")
    seconds = int(match[1]) * _SECONDS[match[2]]
    return When(every_s=seconds, catch_up=catch_up, max_concurrency=max_concurrency)


def _when(recurring: Any) -> str:
    trigger = recurring.trigger
    if trigger and trigger.cron_schedule:
        return str(trigger.cron_schedule.cron)
    if trigger and trigger.periodic_schedule:
        return f"every {int(trigger.periodic_schedule.interval_second):,} s"
    return "–"


def _each(
    kubeflow: Kubeflow, name: str, change: Callable[[Kubeflow, Any], None], done: str
) -> None:
    for one in schedules.existing(kubeflow, name):
        change(kubeflow, one)
    print(f"schedule {name}: {done}")
