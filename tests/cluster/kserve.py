"""KServe's own controller manager with its webhooks, set up as its manifests do."""

import base64
import json
from pathlib import Path
from typing import Any

from kubernetes import dynamic

from tests.cluster.api_server import ApiServer
from tests.cluster.binaries import module_dirs
from tests.cluster.daemon import Daemon, is_up
from tests.cluster.manifests import KSERVE, Manifest, apply, connect, read
from tests.ports import free_port

NAMESPACE = "kserve"
GATEWAY = ("kserve", "kserve-ingress-gateway")
_ACCOUNT = "kserve-controller-manager"
_START_TIMEOUT_S = 120.0
_RUNTIMES = Path(__file__).with_name("runtimes.yaml")


def start_kserve(binaries: Path, server: ApiServer, *, mode: str) -> Daemon:
    """Install KServe, start its controller manager and wait until its webhooks answer.

    It runs with the rights its own Role grants, and with its own configuration but for what makes
    it use the Gateway API and the deployment mode asked for.

    Args:
        binaries: Folder with `kserve-controller`.
        server: What it connects to; has the custom resources.
        mode: The default deployment mode, "Standard" or "Knative".
    """
    module = module_dirs(KSERVE)[KSERVE] / "config"
    client = connect(server.kubeconfig)
    certificates = server.folder / "k8s-webhook-server" / "serving-certs"
    certificates.mkdir(parents=True)
    pair = server.authority.issue("kserve-webhook-server", names=("127.0.0.1",))
    (certificates / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (certificates / "tls.key").write_bytes(pair.key.read_bytes())

    apply(client, [_namespace(), *_gateway(), *_rights(module)])
    configure(client, mode=mode)
    account = f"system:serviceaccount:{NAMESPACE}:{_ACCOUNT}"
    webhook, probe, metrics = free_port(), free_port(), free_port()
    daemon = Daemon(
        [
            binaries / "kserve-controller",
            f"--kubeconfig={server.write_kubeconfig(account)}",
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-probe-addr=127.0.0.1:{probe}",
            f"--webhook-port={webhook}",
            "--zap-encoder=console",
        ],
        log=server.folder / "kserve-controller.log",
        # The certificates are looked for below the folder for temporary files.
        environment={"POD_NAMESPACE": NAMESPACE, "TMPDIR": str(server.folder)},
    )
    daemon.wait_until(lambda: is_up(f"http://127.0.0.1:{probe}/readyz"), timeout_s=_START_TIMEOUT_S)
    authority = server.authority.pair.certificate.read_bytes()
    apply(client, _webhooks(module, f"https://127.0.0.1:{webhook}", authority))
    apply(client, [*read(module / "storagecontainers/default.yaml"), *read(_RUNTIMES)])
    return daemon


def configure(client: dynamic.DynamicClient, *, mode: str) -> None:
    """Make this the default deployment mode; the controller reads it at every reconciliation."""
    module = module_dirs(KSERVE)[KSERVE] / "config"
    (config,) = read(module / "configmap/inferenceservice.yaml")
    ingress = json.loads(config["data"]["ingress"])
    ingress |= {
        "enableGatewayApi": True,
        "kserveIngressGateway": "/".join(GATEWAY),
        "disableIstioVirtualHost": True,  # there is no Istio
    }
    config["data"] = {
        **{key: value for key, value in config["data"].items() if not key.startswith("_")},
        "ingress": json.dumps(ingress),
        "deploy": json.dumps({"defaultDeploymentMode": mode}),
    }
    apply(client, [config])


def _namespace() -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def _gateway() -> list[Manifest]:
    namespace, name = GATEWAY
    listener = {
        "name": "http",
        "protocol": "HTTP",
        "port": 80,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    api_version = "gateway.networking.k8s.io/v1"
    return [
        {
            "apiVersion": api_version,
            "kind": "GatewayClass",
            "metadata": {"name": "shopflow-test"},
            "spec": {"controllerName": "shopflow.example/tests"},
        },
        {
            "apiVersion": api_version,
            "kind": "Gateway",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"gatewayClassName": "shopflow-test", "listeners": [listener]},
        },
    ]


def _rights(module: Path) -> list[Manifest]:
    names = ("service_account", "role", "role_binding")
    manifests = [manifest for name in names for manifest in read(module / f"rbac/{name}.yaml")]
    for manifest in manifests:
        if not manifest["kind"].startswith("Cluster"):
            manifest["metadata"]["namespace"] = NAMESPACE
        for subject in manifest.get("subjects", ()):
            subject["namespace"] = NAMESPACE
    return manifests


def _webhooks(module: Path, url: str, authority: bytes) -> list[Manifest]:
    """Return KServe's webhook configurations, pointed at the process instead of a Service."""
    manifests = list(read(module / "webhook/manifests.yaml"))
    for manifest in manifests:
        del manifest["metadata"]["creationTimestamp"]
        for webhook in manifest["webhooks"]:
            path: Any = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {
                "url": url + path,
                "caBundle": base64.b64encode(authority).decode(),
            }
    return manifests
