"""kube-controller-manager, kube-scheduler and kwok: workloads become pods, pods become ready.

Kubernetes' own controllers and scheduler run unchanged; kwok plays the kubelet of one fake node. No
container runs, so what a kubelet would find out by running one is decided by words in the pod's
spec, in an image or in a storage URI; `faults.yaml` says which, and what becomes of the pod.
Any other pod is ready at once.
"""

from pathlib import Path

import yaml

from tests.cluster.api_server import ApiServer
from tests.cluster.binaries import module_dirs
from tests.cluster.daemon import Daemon
from tests.cluster.manifests import Manifest, apply, connect, read
from tests.ports import free_port

_FAULTS = Path(__file__).with_name("faults.yaml")
_KWOK = "sigs.k8s.io/kwok"
_POD_CIDR = "10.244.0.0/16"
_START_TIMEOUT_S = 60.0
_NODE: Manifest = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "fake-node", "annotations": {"kwok.x-k8s.io/node": "fake"}},
}


def start_nodes(binaries: Path, server: ApiServer) -> list[Daemon]:
    """Start the three and wait until the node is ready.

    Args:
        binaries: Folder with `kube-controller-manager`, `kube-scheduler` and `kwok`.
        server: What they connect to.
    """
    stages = server.folder / "stages.yaml"
    stages.write_text(yaml.safe_dump_all(_stages()))
    client = connect(server.kubeconfig)
    apply(client, [_NODE])
    daemons = [
        _controller_manager(binaries, server),
        _scheduler(binaries, server),
        _kwok(binaries, server, stages),
    ]
    nodes = client.resources.get(api_version="v1", kind="Node")
    daemons[-1].wait_until(
        lambda: _is_ready(client.get(nodes, name=_NODE["metadata"]["name"]).to_dict()),
        timeout_s=_START_TIMEOUT_S,
    )
    return daemons


def _controller_manager(binaries: Path, server: ApiServer) -> Daemon:
    kubeconfig = server.write_kubeconfig("system:kube-controller-manager")
    return Daemon(
        [
            binaries / "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={server.token_key}",
            f"--root-ca-file={server.authority.pair.certificate}",
            # Each controller under its own account, with only the rights Kubernetes gives it.
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
        ],
        log=server.folder / "kube-controller-manager.log",
    )


def _scheduler(binaries: Path, server: ApiServer) -> Daemon:
    kubeconfig = server.write_kubeconfig("system:kube-scheduler")
    return Daemon(
        [
            binaries / "kube-scheduler",
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
        ],
        log=server.folder / "kube-scheduler.log",
    )


def _kwok(binaries: Path, server: ApiServer, stages: Path) -> Daemon:
    return Daemon(
        [
            binaries / "kwok",
            f"--kubeconfig={server.kubeconfig}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--config={stages}",
            f"--cidr={_POD_CIDR}",
            "--node-ip=10.0.0.1",
            f"--server-address=127.0.0.1:{free_port()}",
            "--node-lease-duration-seconds=40",
        ],
        log=server.folder / "kwok.log",
    )


def _is_ready(node: Manifest) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any((found["type"], found["status"]) == ("Ready", "True") for found in conditions)


def _stages() -> list[Manifest]:
    """Return kwok's own stages and ours; its pod-ready leaves our pods alone."""
    folder = module_dirs(_KWOK)[_KWOK] / "kustomize/stage"
    stages = [
        stage
        for place in ("node/fast", "node/heartbeat-with-lease", "pod/fast")
        for stage in read(folder / place)
        if stage["kind"] == "Stage"  # kwok's own tests lie beside them
    ]
    faults = list(read(_FAULTS))
    (ready,) = (stage for stage in stages if stage["metadata"]["name"] == "pod-ready")
    ready["spec"]["selector"]["matchExpressions"] += [
        {**expression, "operator": "DoesNotExist"}
        for fault in faults
        for expression in fault["spec"]["selector"]["matchExpressions"]
        if expression["operator"] == "Exists"
    ]
    return [*stages, *faults]
