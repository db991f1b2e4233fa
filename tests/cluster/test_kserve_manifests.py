"""The manifests that are shipped, on a real API server."""

from pathlib import Path

import pytest
import yaml

from serving.platform import PlatformError
from serving.platform.cluster import connect_cluster, path
from tests.cluster.api_server import ApiServer
from tests.cluster.kserve_stand_in import cluster_of
from tests.cluster.manifests import read
from tests.cluster.test_kserve_platform import WAITS, Deploying, service, stand_in

SERVING = Path(__file__).parents[2] / "serving"
PLURALS = {
    "ServiceAccount": ("v1", "serviceaccounts"),
    "ConfigMap": ("v1", "configmaps"),
    "Role": ("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings"),
    "ServingRuntime": ("serving.kserve.io/v1alpha1", "servingruntimes"),
}


def install(cluster, folder: str, namespace: str) -> list[dict]:
    """Apply what a kustomization lists, unknown fields refused."""
    root = SERVING / folder
    listed = yaml.safe_load((root / "kustomization.yaml").read_text())["resources"]
    manifests = [manifest for name in listed for manifest in read(root / name)]
    for manifest in manifests:
        if manifest["kind"] in PLURALS:
            api, plural = PLURALS[manifest["kind"]]
            cluster.apply(path(api, plural, namespace, manifest["metadata"]["name"]), manifest)
    return manifests


def account_kubeconfig(server: ApiServer, namespace: str, folder: Path) -> Path:
    """The pipeline's service account with a token, as a pod has one."""
    account = path("v1", "serviceaccounts", namespace, "shopflow-pipeline")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = cluster_of(server.kubeconfig).create(f"{account}/token", request)["status"]["token"]
    content = yaml.safe_load(server.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(yaml.safe_dump(content))
    return folder / "kubeconfig"


@pytest.mark.parametrize("kind", ["knative", "ingress"])
def test_role_is_enough_for_every_verb_of_the_platform(
    api_server, bare_namespace, kind, tmp_path, monkeypatch
):
    admin = cluster_of(api_server.kubeconfig)
    with stand_in(api_server, bare_namespace, kind) as controllers:
        install(admin, "manifests", bare_namespace)
        kubeconfig = account_kubeconfig(api_server, bare_namespace, tmp_path)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        platform = Deploying(
            connect_cluster(),
            namespace=bare_namespace,
            waits=WAITS,
            controller=controllers.controller,
        )
        platform.deploy(service(1))
        platform.set_traffic("shop", 100)
        platform.promote("shop")
        platform.deploy(service(2))
        platform.set_traffic("shop", 100)
        assert platform.roll_back("shop", reason="x").canary is None
        with pytest.raises(PlatformError, match="cannot start"):
            platform.deploy(service(controllers.broken))
        account = f"system:serviceaccount:{bare_namespace}:shopflow-pipeline"
        events = [event for one in platform.releases("shop").releases for event in one.events]
        assert {event.by for event in events} == {account}
        platform.delete("shop")
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deploy-step"}}
        pod["spec"] = {"containers": [{"name": "main", "image": "shopflow"}]}
        made = admin.create(path("v1", "pods", bare_namespace), pod)
        platform._temporary._environment = {
            "KFP_POD_NAME": "deploy-step",
            "KFP_POD_UID": made["metadata"]["uid"],
        }
        alone = service(3)
        alone["metadata"]["name"] = "shop-1a2b3c"
        with platform.temporary_service(alone, instead_of=service(3), timeout_s=15.0) as trial:
            assert trial.canary.ready
            (owner,) = platform._changes.live("shop-1a2b3c")["metadata"]["ownerReferences"]
            assert owner["name"] == "deploy-step"
            assert [one.left_over for one in platform.clean_up("shop")] == [""]


@pytest.mark.parametrize(
    ("api", "plural"),
    [
        ("v1", "secrets"),
        ("v1", "serviceaccounts"),
        ("serving.kserve.io/v1alpha1", "servingruntimes"),
        ("apps/v1", "deployments"),
        ("rbac.authorization.k8s.io/v1", "roles"),
    ],
)
def test_role_gives_nothing_more(api_server, bare_namespace, api, plural):
    install(cluster_of(api_server.kubeconfig), "manifests", bare_namespace)
    account = f"system:serviceaccount:{bare_namespace}:shopflow-pipeline"
    pipeline = cluster_of(api_server.write_kubeconfig(account))
    with pytest.raises(PlatformError, match="403: .*cannot list"):
        pipeline.items(path(api, plural, bare_namespace))


def test_namespace_without_the_configuration_needs_the_annotation(api_server, bare_namespace):
    """KServe's ConfigMap lies in another namespace, which the pipeline may not read by itself."""
    install(cluster_of(api_server.kubeconfig), "manifests", bare_namespace)
    account = f"system:serviceaccount:{bare_namespace}:shopflow-pipeline"
    platform = Deploying(
        cluster_of(api_server.write_kubeconfig(account)), namespace=bare_namespace, waits=WAITS
    )
    with pytest.raises(PlatformError, match="deployment mode: found neither"):
        platform.deploy(service(1))
    assert platform.status("shop").canary is None


def test_runtimes_are_what_kserve_s_definition_allows(api_server, bare_namespace):
    admin = cluster_of(api_server.kubeconfig)
    found = install(admin, "runtimes", bare_namespace)
    formats = {
        one["metadata"]["name"]: one["spec"]["supportedModelFormats"][0]["name"]
        for one in found
        if one["kind"] == "ServingRuntime"
    }
    assert formats == {"shopflow": "shopflow", "shopflow-tensorflow": "tensorflow"}
    served = admin.get(
        path("serving.kserve.io/v1alpha1", "servingruntimes", bare_namespace, "shopflow-tensorflow")
    )
    (container,) = served["spec"]["containers"]
    (monitoring,) = (arg for arg in container["args"] if "monitoring_config_file" in arg)
    (volume,), (mount,) = served["spec"]["volumes"], container["volumeMounts"]
    config = next(one for one in found if one["metadata"]["name"] == volume["configMap"]["name"])
    assert monitoring.split("=")[1] == f"{mount['mountPath']}/{next(iter(config['data']))}"
