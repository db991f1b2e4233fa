"""KServe's own controller in Standard mode, on Gateway API routes."""

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError

from tests.cluster.inference_services import (
    condition,
    get,
    inference_service,
    is_ready,
    last_failure,
    put,
    split,
    wait_for,
    with_canary,
)


@pytest.fixture
def service(cluster, namespace):
    """The deploy step's InferenceService, ready."""
    resource = inference_service(namespace, cluster.package_uri, mode="Standard")
    put(cluster, resource)
    wait_for(cluster, namespace, is_ready)
    return resource


def canary_is_ready(resource):
    return [found["ready"] for found in resource["status"].get("canaryStatuses", ())] == [True]


def test_kserve_makes_the_deploy_step_s_inference_service_ready(cluster, namespace, service):
    # Ready comes first, what is said about the model with the next reconciliation.
    found = wait_for(
        cluster,
        namespace,
        lambda resource: (
            resource["status"]["modelStatus"].get("states", {}).get("activeModelState") == "Loaded"
        ),
    )
    assert found["status"]["deploymentMode"] == "Standard"
    assert found["status"]["url"].startswith("http")
    assert list(split(get(cluster, "HTTPRoute", namespace))) == ["recommender-predictor"]


def test_the_pod_webhook_has_the_package_fetched_before_the_server_starts(
    cluster, namespace, service
):
    pods = cluster.client.resources.get(api_version="v1", kind="Pod")
    (pod,) = cluster.client.get(pods, namespace=namespace).to_dict()["items"]
    (fetch,) = pod["spec"]["initContainers"]
    assert fetch["name"] == "storage-initializer"
    assert fetch["args"] == [cluster.package_uri, "/mnt/models"]


def test_a_ready_canary_gets_the_share_that_was_asked_for(cluster, namespace, service):
    for percent in (5, 25):
        canary = with_canary(
            service, name="v2", package_uri=cluster.next_package_uri, percent=percent
        )
        put(cluster, canary)
        wait_for(cluster, namespace, canary_is_ready)
        wanted = {"recommender-predictor": 100 - percent, "recommender-v2-predictor": percent}
        wait_for(cluster, namespace, lambda route: split(route) == wanted, kind="HTTPRoute")  # noqa: B023 - called in this turn


def test_kserve_0_20_reports_a_canary_s_share_and_gives_it_none(
    own_cluster, namespace_without_weights
):
    """The observed split must come from the route: the status repeats what was asked for."""
    namespace = namespace_without_weights
    resource = inference_service(namespace, own_cluster.package_uri, mode="Standard")
    put(own_cluster, resource)
    wait_for(own_cluster, namespace, is_ready)
    uri = own_cluster.next_package_uri
    put(own_cluster, with_canary(resource, name="v2", package_uri=uri, percent=50))
    found = wait_for(own_cluster, namespace, canary_is_ready)
    assert found["status"]["canaryStatuses"][0]["trafficPercent"] == 50
    assert split(get(own_cluster, "HTTPRoute", namespace)) == {"recommender-predictor": 1}


def test_naming_the_predictor_after_the_canary_promotes_it(cluster, namespace, service):
    canary = with_canary(service, name="v2", package_uri=cluster.next_package_uri, percent=50)
    put(cluster, canary)
    wait_for(cluster, namespace, canary_is_ready)
    before = get(cluster, "Deployment", namespace, "recommender-v2-predictor")

    promoted = {**service, "spec": {"predictor": canary["spec"]["canary"][0]["predictor"]}}
    put(cluster, promoted)

    wanted = {"recommender-v2-predictor": 1}
    wait_for(cluster, namespace, lambda route: split(route) == wanted, kind="HTTPRoute")
    found = wait_for(cluster, namespace, is_ready)
    assert not found["status"].get("canaryStatuses")
    after = get(cluster, "Deployment", namespace, "recommender-v2-predictor")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]  # the same pods go on serving


@pytest.mark.parametrize(
    ("package_uri", "reason", "message"),
    [
        ("gs://models/no-such-model/1", "ModelLoadFailed", "no files found"),
        ("gs://models/crashing-model/1", "ModelLoadFailed", "bad manifest"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_reported_with_its_reason(
    own_cluster, namespace, package_uri, reason, message
):
    put(own_cluster, inference_service(namespace, package_uri, mode="Standard"))
    found = wait_for(
        own_cluster,
        namespace,
        last_failure,
    )
    failure = last_failure(found)
    assert failure["reason"] == reason
    assert message in failure["message"]
    assert not is_ready(found)


def test_a_canary_that_is_never_ready_gets_no_traffic(own_cluster, namespace, service):
    slow = with_canary(service, name="v2", package_uri="gs://models/slow-model/2", percent=50)
    put(own_cluster, slow)
    found = wait_for(
        own_cluster,
        namespace,
        lambda resource: condition(resource, "CanaryPredictorReady").get("status") == "False",
    )
    assert found["status"]["canaryStatuses"][0]["ready"] is False
    wanted = {"recommender-predictor": 100}
    wait_for(own_cluster, namespace, lambda route: split(route) == wanted, kind="HTTPRoute")


def test_kserve_s_webhook_refuses_shares_above_100_percent_together(cluster, namespace, service):
    canary = with_canary(service, name="v2", package_uri=cluster.next_package_uri, percent=60)
    other = {**canary["spec"]["canary"][0]["predictor"], "name": "v3"}
    canary["spec"]["canary"].append({"trafficPercent": 60, "predictor": other})
    with pytest.raises(
        (ApiException, DynamicApiError), match="sum of canary trafficPercent values .120."
    ):
        put(cluster, canary)


def test_a_format_no_runtime_serves_is_reported(cluster, namespace):
    resource = inference_service(namespace, cluster.package_uri, mode="Standard")
    resource["spec"]["predictor"]["model"]["modelFormat"]["name"] = "no-such-format"
    put(cluster, resource)
    found = wait_for(
        cluster,
        namespace,
        last_failure,
    )
    assert last_failure(found)["reason"] == "NoSupportingRuntime"
