"""The exit handler's look at a run on a real API server: Argo's own resource, our own Role."""

import json
import subprocess
from pathlib import Path

import pytest

from components.notify.ending import Ending
from components.notify.notify import ending_on_cluster
from serving.platform import PlatformError, TemporaryService
from serving.platform.cluster import Cluster, connect_cluster, path
from serving.platform.kserve import KServePlatform
from tests.cluster.api_server import ApiServer
from tests.cluster.kserve_stand_in import ISVC, cluster_of
from tests.cluster.manifests import connect, read, serve_custom_resources
from tests.cluster.test_kserve_manifests import account_kubeconfig, install
from tests.cluster.test_kserve_platform import service
from tests.notify.test_ending import LINE, ended

# Not in go.mod: nothing is built of it.
ARGO = "github.com/argoproj/argo-workflows/v4@v4.0.5"
WORKFLOWS = "argoproj.io/v1alpha1"


@pytest.fixture(scope="module")
def argo(api_server: ApiServer) -> Cluster:
    """The API server, with Argo's Workflow; nothing runs one."""
    listed = subprocess.run(
        ["go", "mod", "download", "-json", ARGO], stdout=subprocess.PIPE, check=True
    )
    folder = Path(json.loads(listed.stdout)["Dir"]) / "manifests" / "base" / "crds" / "minimal"
    definitions = list(read(folder / "argoproj.io_workflows.yaml"))
    serve_custom_resources(connect(api_server.kubeconfig), definitions)
    return cluster_of(api_server.kubeconfig)


def run_ended(cluster: Cluster, namespace: str, run_id: str, phase: str, line: str) -> None:
    """Put the workflow of a run there, as Argo's controller leaves it to the exit handler."""
    message = f"main: Error (exit code 1): {line}"
    found = ended(phase, ("train.executor", phase), messages=(message,))
    name = found["metadata"]["name"] = f"shop-{run_id}"
    found["metadata"] |= {"namespace": namespace, "labels": {"pipeline/runid": run_id}}
    body = {"apiVersion": WORKFLOWS, "kind": "Workflow", "spec": {}} | found
    cluster.apply(path(WORKFLOWS, "workflows", namespace, name), body)


def test_a_run_s_workflow_is_found_by_its_id_and_says_which_step_failed_and_why(
    api_server, argo, bare_namespace, tmp_path, monkeypatch
):
    install(argo, "manifests", bare_namespace)
    kubeconfig = account_kubeconfig(api_server, bare_namespace, tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    run_ended(argo, bare_namespace, "a1", "Failed", LINE)
    run_ended(argo, bare_namespace, "b2", "Succeeded", "")
    # What KFP says of a run with a killed step, it says of a good one as well.
    look = {
        run: ending_on_cluster(run, "UNKNOWN", namespace=bare_namespace) for run in ("a1", "b2")
    }
    assert look == {"a1": Ending("FAILED", "train", LINE), "b2": Ending("SUCCEEDED")}
    with pytest.raises(PlatformError, match="found none in .* labelled pipeline/runid=c3"):
        ending_on_cluster("c3", "FAILED", namespace=bare_namespace)
    with pytest.raises(PlatformError, match="403: .*cannot get"):
        connect_cluster().get(path(WORKFLOWS, "workflows", bare_namespace, "shop-a1"))


def test_only_the_ended_run_s_temporary_services_are_deleted(api_server, bare_namespace):
    """No pod owns them, as where the steps run in another namespace than the services."""
    admin = cluster_of(api_server.kubeconfig)
    for name, run_id in (("shop-aaaaaa", "a1"), ("shop-bbbbbb", "b2")):
        body = service(1)
        body["metadata"] |= {
            "name": name,
            "labels": {"shopflow/temporary-of": "shop", "shopflow/run": run_id},
            "annotations": {"shopflow/expires": "2999-01-01T00:00:00+00:00"},
        }
        admin.apply(path(ISVC, "inferenceservices", bare_namespace, name), body)
    platform = KServePlatform(admin, namespace=bare_namespace)
    in_use = TemporaryService("shop-bbbbbb", "")
    swept = TemporaryService("shop-aaaaaa", "its run a1 has ended")
    assert set(platform.clean_up("shop", ended_run="a1")) == {swept, in_use}
    assert platform.clean_up("shop", ended_run="a1") == (in_use,)
