"""A real Kubernetes cluster: started when the first test asks for it, ended with the last."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import dynamic

from tests.cluster import binaries as programs
from tests.cluster import manifests
from tests.cluster.api_server import ApiServer
from tests.cluster.daemon import Daemon

_DAEMONS: pytest.StashKey[list[Daemon]] = pytest.StashKey()


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
        manifests.install_custom_resources(manifests.connect(server.kubeconfig))
        yield server
    finally:
        server.stop()


@pytest.fixture
def bare_namespace(api_server: ApiServer) -> str:
    """A namespace of the test's own on `api_server`."""
    return _new_namespace(manifests.connect(api_server.kubeconfig))


def _new_namespace(client: dynamic.DynamicClient) -> str:
    name = f"shopflow-test-{uuid.uuid4().hex[:8]}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    manifests.apply(client, [namespace])
    return name
