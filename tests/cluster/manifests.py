"""Manifests put into the cluster by server-side apply, as they lie in the Go module cache."""

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config, dynamic

from tests.cluster.binaries import module_dirs

KSERVE = "github.com/kserve/kserve"
KNATIVE_SERVING = "knative.dev/serving"
KNATIVE_NETWORKING = "knative.dev/networking"
KNATIVE_CACHING = "knative.dev/caching"
GATEWAY_API = "sigs.k8s.io/gateway-api"
# Folders and files below each module that hold CustomResourceDefinitions.
_CRDS = {
    KSERVE: (
        "config/crd/full/serving.kserve.io_inferenceservices.yaml",
        "config/crd/full/serving.kserve.io_clusterservingruntimes.yaml",
        "config/crd/full/serving.kserve.io_inferencegraphs.yaml",
        "config/crd/full/serving.kserve.io_servingruntimes.yaml",
        "config/crd/full/serving.kserve.io_trainedmodels.yaml",
        "config/crd/full/clusterstoragecontainer",
    ),
    GATEWAY_API: ("config/crd/standard",),
    KNATIVE_SERVING: ("config/core/300-resources",),
    KNATIVE_NETWORKING: ("config",),
    KNATIVE_CACHING: ("config",),
}
_FIELD_MANAGER = "shopflow-tests"
_ESTABLISHED_TIMEOUT_S = 60.0

Manifest = dict[str, Any]


def connect(kubeconfig: Path) -> dynamic.DynamicClient:
    """Return a client for the kubeconfig's current context."""
    return dynamic.DynamicClient(config.new_client_from_config(str(kubeconfig)))


def read(path: Path) -> Iterator[Manifest]:
    """Yield the resources of a YAML file, or of every YAML file below a folder."""
    for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path]:
        for document in yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader):
            # kustomize's own files lie between the resources.
            if document and "kustomize" not in document.get("apiVersion", "kustomize"):
                yield document


def apply(client: dynamic.DynamicClient, manifests: Iterable[Mapping[str, Any]]) -> None:
    """Create the resources, or make them what the manifests say."""
    for manifest in manifests:
        resource = client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        client.server_side_apply(
            resource,
            body=manifest,
            name=manifest["metadata"]["name"],
            namespace=manifest["metadata"].get("namespace"),
            field_manager=_FIELD_MANAGER,
            force_conflicts=True,
        )


@functools.cache
def custom_resource_definitions() -> tuple[Manifest, ...]:
    """Return the definitions of Gateway API, KServe and Knative Serving."""
    dirs = module_dirs(*_CRDS)
    return tuple(
        manifest
        for module, places in _CRDS.items()
        for place in places
        for manifest in read(dirs[module] / place)
        if manifest["kind"] == "CustomResourceDefinition"
    )


def install_custom_resources(client: dynamic.DynamicClient) -> None:
    """Serve the definitions of Gateway API, KServe and Knative Serving."""
    serve_custom_resources(client, custom_resource_definitions())


def serve_custom_resources(client: dynamic.DynamicClient, definitions: Sequence[Manifest]) -> None:
    """Apply definitions and wait until the API server serves every one of them.

    Raises:
        TimeoutError: If it does not; names those that are missing.
    """
    wanted = {definition["metadata"]["name"] for definition in definitions}
    resource = client.resources.get(
        api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
    )
    # KServe's largest keeps the API server busy for seconds, on one core.
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in [pool.submit(apply, client, [definition]) for definition in definitions]:
            done.result()
    deadline = time.monotonic() + _ESTABLISHED_TIMEOUT_S
    while missing := wanted - _established(client.get(resource).to_dict()["items"]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"custom resources: not served: {sorted(missing)}")
        time.sleep(0.1)
    client.resources.invalidate_cache()


def _established(definitions: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        definition["metadata"]["name"]
        for definition in definitions
        for condition in definition.get("status", {}).get("conditions") or ()
        if (condition["type"], condition["status"]) == ("Established", "True")
    }
