"""The resource deploy asks for, and what its smoke test thinks of an answer."""

import pytest

from components.deploy.inference_service import DeploySettings, build_inference_service
from components.deploy.smoke_test import find_problem
from serving.platform import Prediction


def build(**settings):
    return build_inference_service(
        service="shop",
        namespace="ml",
        package_uri="gs://models/shop/3",
        settings=DeploySettings(**settings),
    )


def test_resource_is_a_v1beta1_inference_service_without_a_split():
    assert build(tf_threads=2, request_timeout_s=7) == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "shop", "namespace": "ml"},
        "spec": {
            "predictor": {
                "timeout": 7,
                "model": {
                    "modelFormat": {"name": "shopflow"},
                    "storageUri": "gs://models/shop/3",
                    "args": ["--tf_threads", "2"],
                },
            }
        },
    }


def test_server_of_ones_own_is_a_custom_container_with_the_package_in_its_environment():
    container = build(server_command=("serve", "--fast"))["spec"]["predictor"]["containers"][0]
    assert container["command"] == ["serve", "--fast"]
    assert container["env"] == [{"name": "STORAGE_URI", "value": "gs://models/shop/3"}]


@pytest.mark.parametrize("name", ["ready_timeout_s", "request_timeout_s", "tf_threads"])
def test_settings_that_make_no_sense_are_refused_by_name(name: str):
    with pytest.raises(ValueError, match=name):
        DeploySettings(**{name: 0})


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, {"predictions": [{"items": ["a"], "scores": [1.0]}]}, None),
        (200, {"predictions": [0.5]}, None),
        (500, {"error": "x"}, "found status 500"),
        (200, "text", "expected 1 predictions"),
        (200, {"predictions": []}, "expected 1 predictions"),
        (200, {"predictions": [{"items": [], "scores": []}]}, "without items"),
        (200, {"predictions": [{"items": ["a"], "scores": [None]}]}, "finite"),
        (200, {"predictions": [{"items": ["a"], "scores": [float("inf")]}]}, "finite"),
        (200, {"predictions": [{"items": ["a"]}]}, "finite"),
        (200, {"predictions": [None]}, "finite"),
    ],
)
def test_answers_no_user_should_get_are_told(status: int, body: object, problem: str | None):
    found = find_problem(Prediction(status, body, "r", 1.0), rows=1)
    assert found is None if problem is None else problem in found
