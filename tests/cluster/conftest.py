"""A real Kubernetes cluster: started when the first test asks for it, ended with the last."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import dynamic

from tests.cluster import binaries as programs
from tests.cluster.api_server import ApiServer
from tests.cluster.cluster import Cluster, OwnCluster, user_cluster
from tests.cluster.daemon import Daemon
from tests.cluster.manifests import apply, connect, install_custom_resources
from tests.cluster.stand_ins import CANARY_WEIGHTS

_BUILT_FOR = {"binaries", "api_server", "cluster"}
_BUILD_TIMEOUT_S = 3600
_DAEMONS: pytest.StashKey[list[Daemon]] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests time to build the cluster's programs: the first one that needs them waits."""
    for item in items:
        if _BUILT_FOR & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(_BUILD_TIMEOUT_S))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the cluster's programs logged last beside a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in item.config.stash.get(_DAEMONS, []):
            report.sections.append((daemon.name, daemon.tail()))


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder of the cluster's programs."""
    try:
        return programs.build()
    except programs.NoGoToolchain as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def api_server(
    binaries: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[ApiServer]:
    """An API server with KServe's, Knative's and Gateway API's resources; nothing reconciles."""
    server = ApiServer(binaries, tmp_path_factory.mktemp("api-server"))
    pytestconfig.stash.setdefault(_DAEMONS, []).extend(server.daemons)
    try:
        install_custom_resources(connect(server.kubeconfig))
        yield server
    finally:
        server.stop()


@pytest.fixture
def bare_namespace(api_server: ApiServer) -> str:
    """A namespace of the test's own on `api_server`."""
    return _new_namespace(connect(api_server.kubeconfig))


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster where KServe's own controllers work: the user's, or one of the tests' own."""
    if (found := user_cluster()) is not None:
        yield found
        return
    binaries = request.getfixturevalue("binaries")
    own = OwnCluster(binaries, tmp_path_factory.mktemp("cluster"))
    request.config.stash.setdefault(_DAEMONS, []).extend(own.view.daemons.values())
    try:
        yield own.view
    finally:
        own.stop()


@pytest.fixture(scope="session")
def own_cluster(cluster: Cluster) -> Cluster:
    """The cluster of the tests' own, for tests that break things or need its fake kubelet."""
    if cluster.server is None:
        pytest.skip("needs the cluster the tests start, found the user's own")
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own where canaries get their weights."""
    name = _new_namespace(cluster.client, {CANARY_WEIGHTS: "enabled"})
    yield name
    _delete_namespace(cluster.client, name)


@pytest.fixture
def namespace_without_weights(own_cluster: Cluster) -> Iterator[str]:
    """A namespace where KServe 0.20 is left alone: canaries start and get no traffic."""
    name = _new_namespace(own_cluster.client)
    yield name
    _delete_namespace(own_cluster.client, name)


def _new_namespace(client: dynamic.DynamicClient, labels: dict[str, str] | None = None) -> str:
    name = f"shopflow-test-{uuid.uuid4().hex[:8]}"
    metadata = {"name": name, "labels": labels or {}}
    apply(client, [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    return name


def _delete_namespace(client: dynamic.DynamicClient, name: str) -> None:
    client.delete(client.resources.get(api_version="v1", kind="Namespace"), name=name)
