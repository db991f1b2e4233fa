"""The site's commands for a cluster, on a real API server with a stand-in for the controllers."""

import shutil

import pytest

from components.object_store import open_store, upload_tree
from serving.platform import Provenance
from serving.platform.cluster import ApiError, path
from tests.cluster.kserve_stand_in import cluster_of
from tests.cluster.manifests import connect, serve_custom_resources
from tests.cluster.test_kserve_platform import connected, service, stand_in
from tests.cluster.test_training_manifests import kubeflow  # noqa: F401  # a fixture
from tests.docs.commands import checkout, commands, pages, run
from tests.serving.bare_package import model_sha256, publish_bare
from tests.serving.key_pair import key_pair
from tests.test_object_store import emulator  # noqa: F401  # a fixture

PAGES = [page for page in pages() if any(found.place == "cluster" for found in commands(page))]
PROMETHEUS = "monitoring.coreos.com"


def definition(kind: str) -> dict:
    """A definition of one of the Prometheus operator's resources, without its schema.

    That is Go code we cannot fetch; what the manifests mean is tested by Prometheus itself.
    """
    names = {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower()}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{PROMETHEUS}"},
        "spec": {"group": PROMETHEUS, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def put_on_trial(platform, version, store):
    """Publish a package and make it the candidate."""
    folder = publish_bare(store, version=version)
    upload_tree(open_store("gs://shop/docs"), folder, prefix=str(version))
    # Each differs from the others in more than its package, as a release may.
    candidate = service(f"gs://shop/docs/{version}", timeout=10 + version)
    platform.deploy(candidate, provenance=Provenance(version, "run", model_sha256(version)))


@pytest.fixture
def namespace(api_server, bare_namespace, kubeflow):  # noqa: F811  # the fixture
    """A namespace where all that the pages mention is known."""
    admin = cluster_of(api_server.kubeconfig)
    crds = [definition(kind) for kind in ("PodMonitor", "PrometheusRule")]
    serve_custom_resources(connect(api_server.kubeconfig), crds)
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}
    try:
        admin.create("/api/v1/namespaces", manifest)
    except ApiError as error:
        assert error.status == 409
    return bare_namespace


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_commands_on_a_cluster(api_server, namespace, emulator, tmp_path_factory):  # noqa: F811
    folder, store = checkout(tmp_path_factory.mktemp("docs")), tmp_path_factory.mktemp("store")
    pair = key_pair()
    for name, key in zip(("new_private.pem", "trusted.pem"), pair, strict=True):
        (folder / name).write_text(key)
    (folder / "webhook.txt").write_text("https://chat.example/hook")
    admin = cluster_of(api_server.kubeconfig)
    with stand_in(api_server, namespace, "knative") as controllers:
        platform = connected(controllers)
        for version in (1, 3, 4):
            put_on_trial(platform, version, store)
            platform.set_traffic("shop", 100)
            platform.promote("shop", reason="every step passed")
        words = {
            "recommender --platform kserve": f"shop --platform kserve:controller={namespace}",
            "--namespace NAMESPACE": f"--namespace {namespace}",
            "--namespace shop": f"--namespace {namespace}",
            "-n NAMESPACE": f"-n {namespace}",
        }
        for page in PAGES:
            if page == "serving/README.md":
                put_on_trial(platform, 5, store)  # to be aborted
            run(page, "cluster", folder, words, KUBECONFIG=str(api_server.kubeconfig))
    releases = [(one.provenance.version, one.verdict) for one in platform.releases("shop").releases]
    assert releases == [
        (1, "promoted"), (3, "promoted"), (4, "rolled back"), (1, "rolled back"),
        (5, "rolled back"), (3, "promoted"),
    ]  # fmt: skip
    for plural, api, name in (
        ("rolebindings", "rbac.authorization.k8s.io/v1", "shopflow-pipeline"),
        ("servingruntimes", "serving.kserve.io/v1alpha1", "shopflow"),
        ("podmonitors", f"{PROMETHEUS}/v1", "shopflow-predictor"),
        ("trainjobs", "trainer.kubeflow.org/v1alpha1", "shopflow-train"),
    ):
        found = [one["metadata"]["name"] for one in admin.items(path(api, plural, namespace))]
        assert name in found, (plural, found)
    secret = admin.get(path("v1", "secrets", namespace, "shopflow-signing-key"))
    assert set(secret["data"]) == {"private.pem"}
