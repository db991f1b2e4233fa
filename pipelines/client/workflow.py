"""The Argo workflow of a run, from the server.

The run's v2 answer names neither pods nor reasons (KFP 2.17); the workflow in its v1 answer does.
"""

import json
from typing import Any

from components import workflow
from components.workflow import StepPod
from pipelines.client.connection import Kubeflow, ServerError


def step_pods(kubeflow: Kubeflow, run_id: str) -> list[StepPod]:
    """Return the pods of a run's steps, the last started last; drivers only where they failed.

    Raises:
        ServerError: If the server does not give the workflow.
    """
    return workflow.step_pods(_workflow(kubeflow, run_id))


def _workflow(kubeflow: Kubeflow, run_id: str) -> dict[str, Any]:
    answer = kubeflow.get(f"/apis/v1beta1/runs/{run_id}")
    expected = "the run with its Argo workflow"
    if answer.status_code != 200:
        found = f"HTTP {answer.status_code} for run {run_id}"
        raise ServerError(kubeflow.host, found, expected, status=answer.status_code)
    try:
        runtime = answer.json()["pipeline_runtime"]
        manifest = runtime.get("workflow_manifest") or runtime["pipeline_manifest"]
        read: dict[str, Any] = json.loads(manifest)
        return {"metadata": read["metadata"], "status": read.get("status")}
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(kubeflow.host, f"run {run_id} without one", expected) from error
