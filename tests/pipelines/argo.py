"""An Argo workflow as KFP's server hands it out: a second attempt, and a step that failed."""

import datetime
from collections.abc import Iterable
from typing import Any

import kfp_server_api

POD = "shop-x1-system-container-impl"


def workflow(*nodes: tuple[str, str], messages: Iterable[str] = ()) -> dict[str, Any]:
    """Return a workflow of nodes (name, phase), in the order they started.

    A name without "-driver" or ".executor" is a DAG's. What failed has a message of its own, or the
    one of an exit code 1.
    """
    said = iter(messages)
    return {
        "metadata": {"name": "shop-x1", "namespace": "kubeflow"},
        "status": {
            "nodes": {
                str(number): {
                    "id": f"shop-x1-{number}",
                    "name": f"shop-x1.root.{name}",
                    "type": "Pod" if "-driver" in name or ".executor" in name else "DAG",
                    "templateName": "system-container-impl",
                    "phase": phase,
                    "startedAt": f"2026-11-24T03:00:{number:02}Z",
                    "message": next(said, "main: Error (exit code 1)") if phase == "Failed" else "",
                }
                for number, (name, phase) in enumerate(nodes)
            }
        },
    }


WORKFLOW = workflow(
    ("ingest-driver", "Succeeded"),
    ("ingest.executor(0)", "Failed"),
    ("ingest.executor(1)", "Succeeded"),
    ("train-driver", "Succeeded"),
    ("train.executor", "Failed"),
)


def task(name: str, state: str, start: int, end: int = 0) -> dict[str, object]:
    """A node of the workflow as the server lists it; one that goes on ends in the year 1."""

    def at(second: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(second, datetime.UTC)

    year_1 = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return {
        "display_name": name,
        "state": state,
        "start_time": at(start),
        "end_time": at(end) if end else year_1,
        "child_tasks": [kfp_server_api.PipelineTaskDetailChildTask(pod_name="shop-x1-2764608710")],
    }
