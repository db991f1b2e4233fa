"""The cluster a test sees: the one the tests started, or the user's own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubernetes import dynamic

from tests.cluster.api_server import ApiServer
from tests.cluster.daemon import Daemon
from tests.cluster.knative import start_knative
from tests.cluster.kserve import start_kserve
from tests.cluster.manifests import connect, install_custom_resources
from tests.cluster.nodes import start_nodes
from tests.cluster.stand_ins import StandIns

# The kubeconfig of a cluster to use instead of starting one. Not KUBECONFIG itself: `make test`
# must not touch the cluster somebody happens to work with.
USER_KUBECONFIG = "SHOPFLOW_TEST_KUBECONFIG"
# Two model packages, separated by a comma.
USER_PACKAGES = "SHOPFLOW_TEST_PACKAGE_URIS"


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes cluster with KServe on it.

    Attributes:
        kubeconfig: An administrator's.
        client: A client of the administrator's.
        package_uri: A model package its pods can load.
        next_package_uri: Another one.
        server: The API server the tests started; None on the user's own cluster.
        daemons: The programs the tests started; "kserve-controller" is one of them.
    """

    kubeconfig: Path
    client: dynamic.DynamicClient
    package_uri: str
    next_package_uri: str
    server: ApiServer | None = None
    daemons: Mapping[str, Daemon] = field(default_factory=dict)


class OwnCluster:
    """A whole cluster of the tests' own, from etcd to KServe.

    Attributes:
        view: What the tests get to see.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        """Start everything, each rung waiting for the one below.

        Args:
            binaries: Folder with the cluster's programs.
            folder: An empty folder for data and logs.
        """
        self._server = ApiServer(binaries, folder)
        self._daemons: list[Daemon] = []
        self._stand_ins: StandIns | None = None
        try:
            install_custom_resources(connect(self._server.kubeconfig))
            self._daemons += start_nodes(binaries, self._server)
            self._stand_ins = StandIns(self._server.kubeconfig)
            self._daemons.append(start_knative(binaries, self._server))
            self._daemons.append(start_kserve(binaries, self._server, mode="Standard"))
        except BaseException:
            self.stop()
            raise
        running = [*self._server.daemons, *self._daemons]
        self.view = Cluster(
            kubeconfig=self._server.kubeconfig,
            client=connect(self._server.kubeconfig),
            package_uri="gs://models/recommender/1",
            next_package_uri="gs://models/recommender/2",
            server=self._server,
            daemons={daemon.name: daemon for daemon in running},
        )

    def stop(self) -> None:
        """End everything, the API server last."""
        if self._stand_ins is not None:
            self._stand_ins.stop()
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._server.stop()


def user_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Return the cluster the environment names, if it names one.

    Raises:
        ValueError: If not two packages are named that its pods could load.
    """
    if not (kubeconfig := environment.get(USER_KUBECONFIG)):
        return None
    uris = environment.get(USER_PACKAGES, "").split(",")
    if len(uris) != 2:
        raise ValueError(f"{USER_PACKAGES}: found {uris}, expected two package URIs")
    path = Path(kubeconfig).expanduser()
    return Cluster(path, connect(path), package_uri=uris[0], next_package_uri=uris[1])
