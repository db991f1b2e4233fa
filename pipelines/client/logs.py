"""What a run's step wrote, and why a run failed."""

import re
from typing import Any

from components.errors import InputError
from components.workflow import StepPod, first_failure
from pipelines.client.connection import TIMEOUT_S, Kubeflow, ServerError
from pipelines.client.workflow import step_pods

# The last line of a Python traceback, or of a command line that refused its input.
_ERROR = re.compile(
    r"^(?:error: |(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Failed|Refused): )(.+)", re.M
)


def log_of(kubeflow: Kubeflow, run_id: str, step: str) -> str:
    """Return the log of a step's last attempt, from the server or else from its pod.

    Args:
        kubeflow: The server.
        run_id: The run.
        step: The task's name in the pipeline, such as `train`.

    Raises:
        InputError: If the run has no such step, or its log cannot be had.
    """
    pods = step_pods(kubeflow, run_id)
    found = [pod for pod in pods if pod.step == step]
    if not found:
        steps = ", ".join(dict.fromkeys(pod.step for pod in pods)) or "none yet"
        raise InputError(f"run {run_id}", f"no started step {step!r}", f"one of: {steps}")
    return _log(kubeflow, run_id, found[-1])


def failure_of(kubeflow: Kubeflow, run_id: str) -> tuple[str, str]:
    """Return the step that failed a run and why, as far as the server can say; else empty texts."""
    try:
        pod = first_failure(step_pods(kubeflow, run_id))
    except ServerError:
        return "", ""
    if pod is None:
        return "", ""
    try:
        said = _ERROR.findall(_log(kubeflow, run_id, pod))
    except InputError:
        said = []
    return pod.step, said[-1] if said else pod.message


def _log(kubeflow: Kubeflow, run_id: str, pod: StepPod) -> str:
    answer = kubeflow.get(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod.name}/log")
    # It has already answered 200 when it notices that it has no log.
    if answer.status_code == 200 and not answer.text.startswith('{"error_'):
        return answer.text
    return _log_of_pod(pod, f"{kubeflow.host}: no log (HTTP {answer.status_code})")


def _log_of_pod(pod: StepPod, before: str) -> str:
    from kubernetes import client, config
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    where = f"pod {pod.namespace}/{pod.name}"
    try:
        try:
            config.load_kube_config()
        except ConfigException:
            config.load_incluster_config()
        core: Any = client.CoreV1Api()
        read = core.read_namespaced_pod_log
        return str(read(pod.name, pod.namespace, container="main", _request_timeout=TIMEOUT_S))
    except (ConfigException, client.ApiException, HTTPError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            where, f"{before}, nor in Kubernetes ({reason})", "a pod that is still there"
        ) from error
