"""The Argo workflow of a run on a cluster: which pod ran a step, and which step failed first."""

import base64
import dataclasses
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FAILED = ("Failed", "Error")
# …ingest.executor, with (1) behind it in a second attempt.
_EXECUTOR = re.compile(r"\.(?P<step>[^.]+)\.executor(\(\d+\))?")
_DRIVER = re.compile(r"\.(?P<step>[^.]+)-driver(\(\d+\))?")
_ATTEMPT = re.compile(r"\(\d+\)$")
# What Argo names the nodes of an exit handler by (argo-workflows: GenerateOnExitNodeName).
_ON_EXIT = re.compile(r"\.onExit(\.|$)")


@dataclasses.dataclass(frozen=True)
class StepPod:
    """A pod of a step, as Argo last saw it.

    Attributes:
        step: The task's name in the pipeline.
        name: The pod's name.
        namespace: The pod's namespace.
        failed: Whether it failed.
        message: What Argo says of it, such as `main: Error (exit code 1)`; "" for nothing.
        node: The node's name without the number of the attempt.
    """

    step: str
    name: str
    namespace: str
    failed: bool
    message: str
    node: str


def nodes_of(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a workflow's nodes, the last started last; Argo packs those of a large one."""
    status = workflow.get("status") or {}
    nodes = status.get("nodes") or {}
    if packed := status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
    return sorted(nodes.values(), key=lambda node: node.get("startedAt") or "")


def step_pods(workflow: Mapping[str, Any]) -> list[StepPod]:
    """Return the pods of a run's steps, the last started last; drivers only where they failed."""
    return list(_pods(workflow["metadata"], nodes_of(workflow)))


def first_failure(pods: Sequence[StepPod]) -> StepPod | None:
    """Return the pod that failed a run: the first whose step no later attempt saved.

    What the exit handler made of it counts only where nothing else failed.
    """
    last = {pod.node: pod for pod in pods}
    failed = [pod for pod in last.values() if pod.failed]
    return min(failed, key=lambda pod: bool(_ON_EXIT.search(pod.node)), default=None)


def phase_of_body(workflow: Mapping[str, Any]) -> str:
    """Return Argo's phase of what the exit handler stands around, "" when there is none."""
    ended = (node for node in nodes_of(workflow) if _ON_EXIT.search(node["name"]))
    name = next((_ON_EXIT.split(node["name"])[0] for node in ended), None)
    phases = (node.get("phase") for node in nodes_of(workflow) if node["name"] == name)
    return next(phases, None) or ""


def _pods(metadata: dict[str, Any], nodes: list[dict[str, Any]]) -> Iterator[StepPod]:
    for node in nodes:
        failed = node.get("phase") in FAILED
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
            node=_ATTEMPT.sub("", node["name"]),
        )


def _pod_name(metadata: dict[str, Any], node: dict[str, Any]) -> str:
    version = metadata.get("annotations", {}).get("workflows.argoproj.io/pod-name-format")
    if version == "v1":
        return str(node["id"])
    return f"{metadata['name']}-{node['templateName']}-{node['id'].rpartition('-')[2]}"
