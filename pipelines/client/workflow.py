"""The Argo workflow of a run: which pod ran a step, and why one failed.

The run's v2 answer names neither pods nor reasons (KFP 2.17); the workflow in its v1 answer does.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from pipelines.client.connection import Kubeflow, ServerError

_FAILED = ("Failed", "Error")
# …ingest.executor, with (1) behind it in a second attempt.
_EXECUTOR = re.compile(r"\.(?P<step>[^.]+)\.executor(\(\d+\))?")
_DRIVER = re.compile(r"\.(?P<step>[^.]+)-driver(\(\d+\))?")


@dataclasses.dataclass(frozen=True)
class StepPod:
    """A pod of a step, as Argo last saw it.

    Attributes:
        step: The task's name in the pipeline.
        name: The pod's name.
        namespace: The pod's namespace.
        failed: Whether it failed.
        message: What Argo says of it, such as `main: Error (exit code 1)`; "" for nothing.
    """

    step: str
    name: str
    namespace: str
    failed: bool
    message: str


def step_pods(kubeflow: Kubeflow, run_id: str) -> list[StepPod]:
    """Return the pods of a run's steps, the last started last; drivers only where they failed.

    Raises:
        ServerError: If the server does not give the workflow.
    """
    workflow = _workflow(kubeflow, run_id)
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    started = sorted(nodes.values(), key=lambda node: node.get("startedAt") or "")
    return list(_pods(workflow, started))


def _pods(workflow: dict[str, Any], nodes: list[dict[str, Any]]) -> Iterator[StepPod]:
    metadata = workflow["metadata"]
    for node in nodes:
        failed = node.get("phase") in _FAILED
        executor, driver = _EXECUTOR.search(node["name"]), _DRIVER.search(node["name"])
        match = executor or (driver if failed else None)
        if match is None or node.get("type") != "Pod":
            continue
        yield StepPod(
            step=match["step"],
            name=_pod_name(metadata, node),
            namespace=metadata.get("namespace", ""),
            failed=failed,
            message=node.get("message", ""),
        )


def _pod_name(metadata: dict[str, Any], node: dict[str, Any]) -> str:
    version = metadata.get("annotations", {}).get("workflows.argoproj.io/pod-name-format")
    if version == "v1":
        return str(node["id"])
    return f"{metadata['name']}-{node['templateName']}-{node['id'].rpartition('-')[2]}"


def _workflow(kubeflow: Kubeflow, run_id: str) -> dict[str, Any]:
    answer = kubeflow.get(f"/apis/v1beta1/runs/{run_id}")
    expected = "the run with its Argo workflow"
    if answer.status_code != 200:
        found = f"HTTP {answer.status_code} for run {run_id}"
        raise ServerError(kubeflow.host, found, expected, status=answer.status_code)
    try:
        runtime = answer.json()["pipeline_runtime"]
        manifest = runtime.get("workflow_manifest") or runtime["pipeline_manifest"]
        workflow: dict[str, Any] = json.loads(manifest)
        return {"metadata": workflow["metadata"], "status": workflow.get("status")}
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(kubeflow.host, f"run {run_id} without one", expected) from error
