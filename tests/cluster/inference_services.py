"""InferenceServices in the tests: written, read, waited for."""

import copy
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings
from tests.cluster.cluster import Cluster
from tests.cluster.manifests import apply

_WAIT_S = 90.0
_POLL_S = 0.1
MODE = "serving.kserve.io/deploymentMode"


def inference_service(namespace: str, package_uri: str, *, mode: str = "") -> dict[str, Any]:
    """Return what the deploy step builds, for this deployment mode (or the cluster's default)."""
    resource = build_inference_service(
        service="recommender",
        namespace=namespace,
        package_uri=package_uri,
        settings=DeploySettings(),
    )
    if mode:
        resource["metadata"]["annotations"] = {MODE: mode}
    return resource


def with_canary(
    resource: Mapping[str, Any], *, name: str, package_uri: str, percent: int
) -> dict[str, Any]:
    """Return the InferenceService with a canary of another package beside it."""
    changed = copy.deepcopy(dict(resource))
    model = {**changed["spec"]["predictor"]["model"], "storageUri": package_uri}
    canary = {"trafficPercent": percent, "predictor": {"name": name, "model": model}}
    changed["spec"]["canary"] = [canary]
    return changed


def put(cluster: Cluster, resource: Mapping[str, Any]) -> None:
    """Create the resource, or make it what is given."""
    apply(cluster.client, [resource])


def get(cluster: Cluster, kind: str, namespace: str, name: str = "recommender") -> dict[str, Any]:
    """Return a resource by the kind's plain name."""
    api_version = {
        "InferenceService": "serving.kserve.io/v1beta1",
        "HTTPRoute": "gateway.networking.k8s.io/v1",
        "Deployment": "apps/v1",
        "Service": "serving.knative.dev/v1",
    }[kind]
    resource = cluster.client.resources.get(api_version=api_version, kind=kind)
    found: dict[str, Any] = cluster.client.get(resource, name=name, namespace=namespace).to_dict()
    return found


def wait_for(
    cluster: Cluster,
    namespace: str,
    satisfied: Callable[[dict[str, Any]], bool],
    *,
    kind: str = "InferenceService",
) -> dict[str, Any]:
    """Return the resource once it is as wanted.

    Raises:
        TimeoutError: If it never is; the message holds its status.
    """
    deadline = time.monotonic() + _WAIT_S
    while not satisfied(found := get(cluster, kind, namespace)):
        if time.monotonic() > deadline:
            status = json.dumps(found.get("status"), indent=1)
            raise TimeoutError(f"{kind} {namespace}: not as wanted after {_WAIT_S:g} s: {status}")
        time.sleep(_POLL_S)
    return found


def is_ready(resource: Mapping[str, Any]) -> bool:
    """Return whether its condition Ready is true."""
    return condition(resource, "Ready").get("status") == "True"


def condition(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return one condition of its status, empty when there is none."""
    for found in (resource.get("status") or {}).get("conditions") or ():
        if found["type"] == kind:
            return dict(found)
    return {}


def last_failure(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what KServe says about the model that could not be loaded, empty when none."""
    model = (resource.get("status") or {}).get("modelStatus", {})
    found: dict[str, Any] = model.get("lastFailureInfo", {})
    return found


def split(route: Mapping[str, Any]) -> dict[str, int]:
    """Return the weights of an HTTPRoute's only rule by Service."""
    (rule,) = route["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}
