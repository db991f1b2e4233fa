"""Runs a pipeline on this machine and follows it: which step, how long, what went wrong."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from components.errors import InputError
from components.lifeline import RUN_PID

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([^']+)'")
_FINISHED = re.compile(r"Task '([^']+)' finished with status (\w+)")
# What a step says of itself starts with its name; all else in its log is the libraries' talk.
_SAID = re.compile(r"^\s*\[KFP Executor [^\]]*\]: (?P<step>[a-z]+): (?P<message>.+)")
_ERROR = re.compile(r"^\s+(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Failed|Refused)): (.+)")


@dataclasses.dataclass(frozen=True)
class Run:
    """How a local run ended.

    Attributes:
        folder: The run's artifacts, `<step>/<artifact>` below it.
        failed_step: The step that failed first, None after success.
        reason: Its last error line, empty after success.
        seconds: Wall time by step, in the order the steps ran.
    """

    folder: Path
    failed_step: str | None
    reason: str
    seconds: Mapping[str, float]

    def artifact(self, name: str) -> Path | None:
        """Return the newest artifact of that name, or None when no step wrote one."""
        found = sorted(self.folder.glob(f"*/{name}"), key=lambda path: path.stat().st_mtime)
        return found[-1] if found else None


def newest_artifact(workspace: Path, name: str) -> Path | None:
    """Return the newest artifact of that name of all runs in a workspace, also of one going on."""
    found = sorted(workspace.glob(f"runs/*/*/*/{name}"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


class StepLog:
    """Reads kfp.local's log line by line: what began, what ended, what was said in between."""

    def __init__(self, progress: Progress) -> None:
        """Show the running step in `progress`, and above it a line for each that has ended."""
        self._progress = progress
        self._task = progress.add_task("starting", said="")
        self._step, self._error, self._said = "", "", ""
        self._began: dict[str, list[float]] = {}  # tasks of a loop have one name, and run together
        self.failed_step: str | None = None
        self.reason = ""
        self.seconds: dict[str, float] = {}

    def read(self, line: str, now_s: float) -> None:
        """Take one line of the log, written at `now_s` on a clock that only goes forward."""
        line = _COLOUR.sub("", line).rstrip()
        if match := _STARTED.search(line):
            self._step, self._error, self._said = match[1], "", ""
            self._began.setdefault(match[1], []).append(now_s)
            self._progress.reset(self._task, description=self._step, said="")
        elif match := _FINISHED.search(line):
            self._finish(match[1], match[2] == "SUCCESS", now_s)
        elif match := _ERROR.match(line):
            self._error = match[2]
        elif (match := _SAID.match(line)) and self._step.split("-")[0] == match["step"]:
            self._said = match["message"]
            self._progress.update(self._task, said=self._said)

    def _finish(self, step: str, succeeded: bool, now_s: float) -> None:
        seconds = now_s - self._began[step].pop(0)
        self.seconds[step] = seconds
        line = step_line(step, succeeded, seconds, self._said)
        self._progress.console.print(line, highlight=False, no_wrap=True, overflow="ellipsis")
        if not succeeded and self.failed_step is None:  # not what the exit handler makes of it
            self.failed_step, self.reason = step, self._error


def step_line(step: str, succeeded: bool, seconds: float, said: str) -> str:
    """Return the line of a step that has ended, in rich's markup."""
    mark = "[green]✓[/green]" if succeeded else "[red]✗[/red]"
    return f"{mark} {step:<12} {seconds:6.1f} s  [dim]{escape(said)}[/dim]"


def step_progress(console: Console) -> Progress:
    """Return the live line of the running step: its name, how long it takes, what it last said."""
    said = TextColumn(
        "{task.fields[said]}", style="dim", markup=False, table_column=Column(no_wrap=True)
    )
    return Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description:<12}"),
        TimeElapsedColumn(),
        said,
        console=console,
        transient=True,
    )


def run_locally(
    pipeline: tuple[str, str],
    arguments: Mapping[str, object],
    *,
    workspace: Path,
    console: Console,
) -> Run:
    """Run a pipeline in a child process and follow its log.

    Args:
        pipeline: (module, function) that builds it, as in `compile.PIPELINES`.
        arguments: Pipeline parameters by name.
        workspace: Folder for artifacts and the log; each run has a folder of its own in it.
        console: Where progress is shown.

    Returns:
        How it ended; a failed step is a result and not an exception.

    Raises:
        InputError: If a parameter or the workspace holds the text "python3": kfp's local runner
            would put the interpreter's path in its place.
    """
    for name, value in {**arguments, "workspace": workspace.resolve()}.items():
        if "python3" in str(value):
            raise InputError(name, "the text python3", "a value without it, for a local run")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    root = workspace.resolve() / "runs" / f"{stamp}-{os.getpid()}"
    root.mkdir(parents=True)
    environment = os.environ | {RUN_PID: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pipelines.engine", *pipeline, str(root)]
    log_file = root / "run.log"
    with (
        log_file.open("w", encoding="utf-8") as log,
        step_progress(console) as progress,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as child,
    ):
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(dict(arguments)))
        child.stdin.close()
        steps = StepLog(progress)
        for line in child.stdout:
            log.write(line)
            log.flush()
            steps.read(line, time.monotonic())
    failed = steps.failed_step
    if child.returncode and failed is None:
        failed, steps.reason = "pipeline", f"exit code {child.returncode}, see {log_file}"
    folders = [path for path in root.iterdir() if path.is_dir()]
    return Run(folders[0] if folders else root, failed, steps.reason, steps.seconds)
