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


EXPECTED = {"items": ["a", "b", "c"], "scores": [3.0, 2.0, 2.0]}


def row(items: list[str], scores: list[object]) -> dict[str, object]:
    return {"predictions": [{"items": items, "scores": scores}]}


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, row(["a", "b", "c"], [3.0, 2.0, 2.0]), None),
        (200, row(["a", "b", "c"], [3.0 * 1.0009, 2.0, 2.0]), None),
        (200, row(["a", "c", "b"], [3.0, 2.0, 2.0]), None),  # of equal scores the order is open
        (200, row(["a", "b", "d"], [3.0, 2.0, 2.0]), None),  # d was tied, and not returned then
        (200, row(["b", "a", "c"], [3.0, 2.0, 2.0]), "found 'b' at place 1, expected 'a'"),
        (200, row(["a", "b", "c"], [3.0 * 1.002, 2.0, 2.0]), "found score 3.006 at place 1"),
        (200, row(["a", "b"], [3.0, 2.0]), "found 2 items and 2 scores, expected 3"),
        (500, {"error": "x"}, "found status 500"),
        (200, "text", "expected one prediction"),
        (200, {"predictions": []}, "expected one prediction"),
        (200, {"predictions": [None]}, "without items"),
        (200, row([], []), "without items"),
        (200, row(["a", "b", "c"], [3.0, None, 2.0]), "finite"),
        (200, row(["a", "b", "c"], [float("inf"), 2.0, 2.0]), "finite"),
        (200, {"predictions": [{"items": ["a"]}]}, "finite"),
    ],
)
def test_answers_no_user_should_get_are_told(status: int, body: object, problem: str | None):
    found = find_problem(Prediction(status, body, "r", 1.0), expected=EXPECTED)
    assert found is None if problem is None else problem in str(found)
