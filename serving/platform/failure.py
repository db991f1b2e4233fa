"""Why a revision does not become ready, in the words of KServe, the pods and the conditions."""

from collections.abc import Iterable, Mapping
from typing import Any

# What a pod's container waits for in vain.
_HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
# status.modelStatus.transitionStatus values that mean "this will not work".
_BLOCKED = frozenset({"BlockedByFailedLoad", "InvalidSpec"})


def model_failure(status: Mapping[str, Any]) -> str:
    """Return what `status.modelStatus` says went wrong; empty when nothing did.

    `lastFailureInfo` alone proves nothing: KServe leaves it there after the model has recovered.

    Args:
        status: Status of an InferenceService.
    """
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") not in _BLOCKED:
        return ""
    info = model.get("lastFailureInfo") or {}
    parts = [info.get("reason") or model["transitionStatus"], info.get("message")]
    if info.get("exitCode"):
        parts.append(f"exit code {info['exitCode']}")
    return ": ".join(str(part).strip() for part in parts if part)


def spec_failure(status: Mapping[str, Any]) -> str:
    """Return why KServe makes no revision of a spec at all; empty when it may still make one.

    A model that could not be loaded is that of a revision which exists, and says nothing of the
    one that is to come.

    Args:
        status: Status of an InferenceService.
    """
    model = status.get("modelStatus") or {}
    return model_failure(status) if model.get("transitionStatus") == "InvalidSpec" else ""


def pod_failure(pods: Iterable[Mapping[str, Any]]) -> str:
    """Return why the first container that cannot run does not; empty when all may still come.

    Args:
        pods: Pods of one revision.
    """
    for pod in pods:
        status = pod.get("status") or {}
        for container in (
            *(status.get("initContainerStatuses") or ()),
            *(status.get("containerStatuses") or ()),
        ):
            if found := _container_failure(container):
                return f"pod {pod['metadata']['name']}: {container['name']}: {found}"
    return ""


def _container_failure(container: Mapping[str, Any]) -> str:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if waiting.get("reason") in _HOPELESS:
        said = [waiting["reason"], waiting.get("message")]
    elif (state.get("terminated") or {}).get("exitCode"):
        said = [ended.get("reason")]
    else:
        return ""
    if ended.get("exitCode"):
        said += [f"exit code {ended['exitCode']}", ended.get("message")]
    return ": ".join(str(part).strip() for part in said if part)


def false_conditions(conditions: Iterable[Mapping[str, Any]], *types: str) -> str:
    """Return the conditions that are not True, with their reasons; empty when all are.

    Args:
        conditions: Conditions as Kubernetes and Knative write them.
        types: The ones that matter; all when none is named.
    """
    found = []
    for condition in conditions:
        if condition.get("status") == "True" or (types and condition.get("type") not in types):
            continue
        said = [condition.get("reason"), condition.get("message")]
        words = ": ".join(str(part).strip() for part in said if part)
        found.append(
            f"{condition.get('type')} is {condition.get('status')}" + f" ({words})" * bool(words)
        )
    return ", ".join(found)


def condition(conditions: Iterable[Mapping[str, Any]], wanted: str) -> str:
    """Return a condition's status: True, False or Unknown."""
    for found in conditions:
        if found.get("type") == wanted:
            return str(found.get("status"))
    return "Unknown"
