"""How a run ended: its state, the step that failed, and why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from components.failure import LOCAL_NAME, public_line
from components.workflow import FAILED, first_failure, phase_of_body, step_pods

State = Literal["SUCCEEDED", "FAILED", "CANCELLED", "UNKNOWN"]
# A KFP server hands out the states of ML Metadata, which it does not always keep up to date.
_STATES: dict[str, State] = {
    **{state: state for state in get_args(State)},
    "COMPLETE": "SUCCEEDED",
    "CACHED": "SUCCEEDED",
    "CANCELED": "CANCELLED",
}
_OUTPUT = "executor_output.json"
_SAID = re.compile(r"^main: \w+ \(exit code \d+\): (?P<line>.+)", re.DOTALL)
_OUT_OF_MEMORY = "OOMKilled"


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        state: UNKNOWN where nobody says; that is no success.
        failed_step: The step that failed first and for good, "" for none.
        reason: The line it left, or what the engine says of it, "" where neither is known.
    """

    state: State
    failed_step: str = ""
    reason: str = ""


def read_state(text: str | None) -> State:
    """Return the state that KFP's PipelineTaskFinalStatus names."""
    return _STATES.get((text or "").upper(), "UNKNOWN")


def ending_of_workflow(workflow: Mapping[str, Any], told: State) -> Ending:
    """Return the ending that a run's Argo workflow shows, while its exit handler runs.

    Args:
        workflow: The workflow with its nodes.
        told: What KFP says; it stands where Argo has not decided.
    """
    failed = first_failure(step_pods(workflow))
    phase = phase_of_body(workflow)
    state: State = "FAILED" if phase in FAILED else "SUCCEEDED" if phase == "Succeeded" else told
    if state == "SUCCEEDED" or failed is None:
        return Ending(state)
    return Ending("FAILED" if state == "UNKNOWN" else state, failed.step, _reason(failed.message))


def ending_of_folder(run: Path, told: State, *, own: str) -> Ending:
    """Return the ending of a run under `kfp.local`, whose tasks have a folder each.

    Args:
        run: The run's folder.
        told: What kfp.local says.
        own: Name of the exit handler's own folder.
    """
    if told == "SUCCEEDED" or not run.is_dir():
        return Ending(told)
    tasks = sorted(
        (path for path in run.iterdir() if path.is_dir() and path.name != own),
        key=lambda path: path.stat().st_mtime,
    )
    for task in tasks:
        if (line := task / LOCAL_NAME).is_file():
            return Ending(told, task.name, public_line(line.read_text(encoding="utf-8")))
    for task in tasks:
        if not (task / _OUTPUT).is_file():
            return Ending(told, task.name, "it was ended before it could say why, as by SIGKILL")
    return Ending(told)


def _reason(message: str) -> str:
    """Return a step's own line out of Argo's message, or else the message."""
    if _OUT_OF_MEMORY in message:
        return public_line(f"{message}: it needed more memory than its limit")
    said = _SAID.match(message)
    return public_line(said["line"] if said else message)
