"""The manifests of a distributed training, on a real API server with Kubeflow's own schemas."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.platform.cluster import ApiError, Cluster, path
from tests.cluster.api_server import ApiServer
from tests.cluster.kserve_stand_in import cluster_of
from tests.cluster.manifests import connect, read, serve_custom_resources

MANIFESTS = Path(__file__).parents[2] / "components" / "train" / "manifests"
# Not in go.mod: nothing is built of them, and their dependencies would have to agree with KServe's.
CRDS = {
    "github.com/kubeflow/trainer/v2@v2.0.0": (
        "trainer.kubeflow.org_trainingruntimes.yaml",
        "trainer.kubeflow.org_trainjobs.yaml",
    ),
    "github.com/kubeflow/training-operator@v1.9.0": ("kubeflow.org_tfjobs.yaml",),
}
PLURALS = {"TFJob": "tfjobs", "TrainingRuntime": "trainingruntimes", "TrainJob": "trainjobs"}


@pytest.fixture(scope="module")
def kubeflow(api_server: ApiServer) -> Cluster:
    """The API server, with the resources of both of Kubeflow's operators."""
    definitions = []
    for module, names in CRDS.items():
        listed = subprocess.run(
            ["go", "mod", "download", "-json", module], stdout=subprocess.PIPE, check=True
        )
        folder = Path(json.loads(listed.stdout)["Dir"]) / "manifests" / "base" / "crds"
        definitions += [crd for name in names for crd in read(folder / name)]
    serve_custom_resources(connect(api_server.kubeconfig), definitions)
    return cluster_of(api_server.kubeconfig)


def listed(folder: str) -> list[dict[str, Any]]:
    names = yaml.safe_load((MANIFESTS / folder / "kustomization.yaml").read_text())["resources"]
    return [manifest for name in names for manifest in read(MANIFESTS / folder / name)]


def put(cluster: Cluster, manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    plural, name = PLURALS[manifest["kind"]], manifest["metadata"]["name"]
    return dict(cluster.apply(path(manifest["apiVersion"], plural, namespace, name), manifest))


@pytest.mark.parametrize("folder", ["tfjob", "trainer"])
def test_kubeflow_takes_the_manifests_and_refuses_an_unknown_field(
    folder: str, kubeflow: Cluster, bare_namespace: str
) -> None:
    manifests = listed(folder)
    assert manifests
    for manifest in manifests:
        assert put(kubeflow, manifest, bare_namespace)["kind"] == manifest["kind"]
        wrong = copy.deepcopy(manifest)
        wrong["spec"]["replicaz"] = 2
        with pytest.raises(ApiError, match="replicaz"):
            put(kubeflow, wrong, bare_namespace)
