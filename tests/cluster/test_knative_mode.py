"""KServe's own controller in Knative mode, on Knative Serving's own reconcilers."""

import copy

import pytest

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings
from tests.cluster.inference_services import (
    MODE,
    get,
    inference_service,
    is_ready,
    last_failure,
    put,
    wait_for,
)


@pytest.fixture
def service(cluster, namespace):
    """The deploy step's InferenceService, ready."""
    resource = inference_service(namespace, cluster.package_uri, mode="Knative")
    put(cluster, resource)
    wait_for(cluster, namespace, is_ready)
    return resource


def changed(resource, package_uri, *, percent):
    """Return the InferenceService with another package, as a canary unless `percent` is None."""
    result = copy.deepcopy(resource)
    predictor = result["spec"]["predictor"]
    predictor["model"]["storageUri"] = package_uri
    predictor.pop("canaryTrafficPercent", None)
    if percent is not None:
        predictor["canaryTrafficPercent"] = percent
    return result


def traffic(resource):
    """Return the split in percent by revision, as KServe read it back from Knative."""
    components = (resource.get("status") or {}).get("components", {})
    targets = components.get("predictor", {}).get("traffic", ())
    return {target["revisionName"]: target.get("percent") for target in targets}


def revision(number):
    return f"recommender-predictor-{number:05d}"


def test_kserve_makes_the_deploy_step_s_inference_service_ready(cluster, namespace, service):
    found = get(cluster, "InferenceService", namespace)
    assert found["status"]["deploymentMode"] == "Knative"
    assert traffic(found) == {revision(1): 100}
    assert found["status"]["components"]["predictor"]["latestRolledoutRevision"] == revision(1)


def test_a_transformer_stands_before_the_predictor(cluster, namespace):
    resource = build_inference_service(
        service="recommender",
        namespace=namespace,
        package_uri=cluster.package_uri,
        settings=DeploySettings(
            transformer_image="registry.example/shopflow-transformer:0.1.0",
            transformer_args=("--cache", "env:CACHE_URL"),
            transformer_secret_env={"CACHE_URL": "shop-cache/url"},
        ),
    )
    resource["metadata"]["annotations"] = {MODE: "Knative"}
    put(cluster, resource)
    found = wait_for(cluster, namespace, is_ready)
    components = found["status"]["components"]
    assert components["transformer"]["latestReadyRevision"] == "recommender-transformer-00001"
    # Users are answered by the transformer, and it asks the predictor.
    service = get(cluster, "Service", namespace, "recommender-transformer")
    (container,) = service["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["--cache", "env:CACHE_URL"]
    assert f"recommender-predictor.{namespace}" in container["args"]


def test_a_canary_gets_its_share_beside_the_revision_rolled_out_last(cluster, namespace, service):
    for percent in (5, 25):
        put(cluster, changed(service, cluster.next_package_uri, percent=percent))
        wanted = {revision(2): percent, revision(1): 100 - percent}
        found = wait_for(cluster, namespace, lambda resource: traffic(resource) == wanted)  # noqa: B023 - called in this turn
    targets = found["status"]["components"]["predictor"]["traffic"]
    assert [target.get("tag") for target in targets] == [None, "prev"]
    assert found["status"]["components"]["predictor"]["latestRolledoutRevision"] == revision(1)


def test_dropping_the_share_promotes_the_canary(cluster, namespace, service):
    put(cluster, changed(service, cluster.next_package_uri, percent=5))
    wanted = {revision(2): 5, revision(1): 95}
    wait_for(cluster, namespace, lambda resource: traffic(resource) == wanted)
    put(cluster, changed(service, cluster.next_package_uri, percent=None))
    found = wait_for(cluster, namespace, lambda resource: traffic(resource) == {revision(2): 100})
    assert found["status"]["components"]["predictor"]["latestRolledoutRevision"] == revision(2)


def test_a_share_of_zero_takes_the_traffic_back(cluster, namespace, service):
    put(cluster, changed(service, cluster.next_package_uri, percent=50))
    wanted = {revision(2): 50, revision(1): 50}
    wait_for(cluster, namespace, lambda resource: traffic(resource) == wanted)
    put(cluster, changed(service, cluster.next_package_uri, percent=0))
    found = wait_for(cluster, namespace, lambda resource: traffic(resource).get(revision(1)) == 100)
    assert not traffic(found).get(revision(2))


def test_a_canary_that_cannot_load_leaves_the_traffic_where_it_was(own_cluster, namespace, service):
    """Its share is then listed under the old revision's name: only names tell, not positions."""
    put(own_cluster, changed(service, "gs://models/no-such-model/2", percent=20))
    found = wait_for(own_cluster, namespace, last_failure)
    assert "no files found" in last_failure(found)["message"]
    assert found["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    targets = found["status"]["components"]["predictor"]["traffic"]
    assert {target["revisionName"] for target in targets} == {revision(1)}


def test_the_sidecar_of_knative_is_in_the_pod(cluster, namespace, service):
    pods = cluster.client.resources.get(api_version="v1", kind="Pod")
    (pod,) = cluster.client.get(pods, namespace=namespace).to_dict()["items"]
    names = [container["name"] for container in pod["spec"]["containers"]]
    assert names == ["kserve-container", "queue-proxy"]
    assert [container["name"] for container in pod["spec"]["initContainers"]] == [
        "storage-initializer"
    ]
