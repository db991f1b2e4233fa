"""An Argo workflow as KFP's server hands it out: a second attempt, and a step that failed."""

from typing import Any

POD = "shop-x1-system-container-impl"

_NODES = (
    ("ingest-driver", "0", "Succeeded"),
    ("ingest.executor(0)", "1", "Failed"),
    ("ingest.executor(1)", "2", "Succeeded"),
    ("train-driver", "3", "Succeeded"),
    ("train.executor", "4", "Failed"),
)

WORKFLOW: dict[str, Any] = {
    "metadata": {"name": "shop-x1", "namespace": "kubeflow"},
    "status": {
        "nodes": {
            number: {
                "id": f"shop-x1-{number}",
                "name": f"shop-x1.root.{name}",
                "type": "Pod",
                "templateName": "system-container-impl",
                "phase": phase,
                "startedAt": f"2026-11-24T03:00:0{number}Z",
                "message": "main: Error (exit code 1)" if phase == "Failed" else "",
            }
            for name, number, phase in _NODES
        }
    },
}
