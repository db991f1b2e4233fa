"""Knative Serving's own reconcilers, for InferenceServices in Knative mode."""

import time
from pathlib import Path

from kubernetes import dynamic

from tests.cluster.api_server import ApiServer
from tests.cluster.binaries import module_dirs
from tests.cluster.daemon import Daemon
from tests.cluster.manifests import (
    KNATIVE_NETWORKING,
    KNATIVE_SERVING,
    Manifest,
    apply,
    connect,
    read,
)

NAMESPACE = "knative-serving"
_ACCOUNT = "controller"
_AGGREGATED_ROLE = "knative-serving-admin"
_START_TIMEOUT_S = 60.0
_SETTINGS = {
    # Nothing is pulled, so nobody can be asked for an image's digest.
    "config-deployment": {"registries-skipping-tag-resolving": "registry.example"},
    "config-domain": {"example.com": ""},
    "config-network": {"ingress-class": "shopflow.ingress.networking.knative.dev"},
}


def start_knative(binaries: Path, server: ApiServer) -> Daemon:
    """Install Knative Serving and start its reconcilers; `knative/main.go` says which.

    Its webhooks are left out: they want to be reached through a Service, and nothing routes to
    Services here. KServe sends Knative Services with all defaults filled in.

    Args:
        binaries: Folder with `knative`.
        server: What they connect to; has the custom resources.
    """
    client = connect(server.kubeconfig)
    apply(client, _manifests())
    _wait_for_rights(client)
    account = f"system:serviceaccount:{NAMESPACE}:{_ACCOUNT}"
    return Daemon(
        [binaries / "knative", f"--kubeconfig={server.write_kubeconfig(account)}"],
        log=server.folder / "knative.log",
        environment={
            "SYSTEM_NAMESPACE": NAMESPACE,
            "CONFIG_LOGGING_NAME": "config-logging",
            "CONFIG_OBSERVABILITY_NAME": "config-observability",
        },
    )


def _wait_for_rights(client: dynamic.DynamicClient) -> None:
    """Return once Kubernetes has put the account's Role together; without it Knative gives up."""
    roles = client.resources.get(api_version="rbac.authorization.k8s.io/v1", kind="ClusterRole")
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not client.get(roles, name=_AGGREGATED_ROLE).to_dict().get("rules"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"ClusterRole {_AGGREGATED_ROLE}: no rules yet, expected Knative's")
        time.sleep(0.1)


def _manifests() -> list[Manifest]:
    dirs = module_dirs(KNATIVE_SERVING, KNATIVE_NETWORKING)
    core = dirs[KNATIVE_SERVING] / "config/core"
    places = [
        core / "100-namespace.yaml",
        core / "200-serviceaccount.yaml",
        core / "200-roles",
        core / "configmaps",
        dirs[KNATIVE_NETWORKING] / "config/config-network.yaml",
        # Only so that its Service has an endpoint: a Revision's traffic goes past it or through it.
        core / "deployments/activator.yaml",
    ]
    manifests = [manifest for place in places for manifest in read(place)]
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap":
            manifest["data"] = {
                **{key: value for key, value in manifest["data"].items() if key != "_example"},
                **_SETTINGS.get(manifest["metadata"]["name"], {}),
            }
    return manifests
