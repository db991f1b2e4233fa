"""The resource deploy asks for, and what its smoke test thinks of an answer."""

import pytest

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings, parse_settings
from components.deploy.smoke_test import find_problem
from components.errors import InputError
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


def test_predictor_image_gets_the_package_its_probes_and_its_port():
    predictor = build(image="registry.example/shopflow/predictor:0.1.0", ready_timeout_s=90)[
        "spec"
    ]["predictor"]
    (container,) = predictor["containers"]
    assert container["args"] == [
        "--model_name=shop",
        "--model_dir=/mnt/models",
        "--http_port=8080",
        "--tf_threads=1",
    ]
    assert container["env"] == [{"name": "STORAGE_URI", "value": "gs://models/shop/3"}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert container["livenessProbe"]["initialDelaySeconds"] == 90
    assert "model" not in predictor


def test_resources_are_asked_for_and_limited_alike():
    model = build(cpu="2", memory="4Gi", gpus=1)["spec"]["predictor"]["model"]
    wanted = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert model["resources"] == {"requests": wanted, "limits": wanted}


def test_transformer_is_a_container_of_its_own_with_secrets_by_reference():
    image = "registry.example/shopflow-transformer:1"
    spec = build(
        transformer_image=image,
        transformer_args=("--cache", "env:CACHE_URL"),
        transformer_secret_env={"CACHE_URL": "shop-cache/url"},
    )["spec"]
    (container,) = spec["transformer"]["containers"]
    assert (container["image"], container["args"]) == (image, ["--cache", "env:CACHE_URL"])
    reference = {"secretKeyRef": {"name": "shop-cache", "key": "url"}}
    assert container["env"] == [{"name": "CACHE_URL", "valueFrom": reference}]
    assert "env" not in spec["predictor"]["model"]
    assert "transformer" not in build()["spec"]


def test_secrets_are_references_and_nothing_else():
    model = build(env={"MODE": "fast"}, secret_env={"REDIS_URL": "redis/url"})["spec"]["predictor"][
        "model"
    ]
    assert model["env"] == [
        {"name": "MODE", "value": "fast"},
        {"name": "REDIS_URL", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}},
    ]


def test_scaling_service_account_logger_and_scraping_are_the_predictor_s():
    predictor = build(
        min_replicas=1,
        max_replicas=4,
        autoscaler="hpa",
        scale_metric="cpu",
        scale_target=70,
        service_account="models",
        pull_secrets=("registry",),
        logger_url="http://events.example",
        logger_mode="request",
        scraped=True,
    )["spec"]["predictor"]
    predictor.pop("model")
    assert predictor == {
        "timeout": 60,
        "minReplicas": 1,
        "maxReplicas": 4,
        "scaleMetric": "cpu",
        "scaleTarget": 70,
        "annotations": {
            "serving.kserve.io/autoscalerClass": "hpa",
            "serving.kserve.io/enable-prometheus-scraping": "true",
        },
        "serviceAccountName": "models",
        "imagePullSecrets": [{"name": "registry"}],
        "logger": {"url": "http://events.example", "mode": "request"},
    }


def test_keda_scales_by_a_query():
    predictor = build(
        autoscaler="keda",
        keda_query="sum(rate(requests[1m]))",
        keda_server="http://prometheus:9090",
        keda_threshold="10",
    )["spec"]["predictor"]
    (metric,) = predictor["autoScaling"]["metrics"]
    assert metric["external"]["metric"]["query"] == "sum(rate(requests[1m]))"
    assert metric["external"]["target"] == {"type": "Value", "value": "10"}


def test_tensorflow_serving_gets_its_own_options():
    model = build(model_format="tensorflow", runtime="shopflow-tensorflow")["spec"]["predictor"][
        "model"
    ]
    assert (model["modelFormat"]["name"], model["runtime"]) == ("tensorflow", "shopflow-tensorflow")
    assert model["args"][0] == "--tensorflow_intra_op_parallelism=1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "serving: found list, expected a JSON object"),
        ("{", "expected a JSON object"),
        ('{"replicas": 1}', "serving: found key 'replicas', expected one of .*min_replicas"),
        ('{"ready_timeout_s": 1}', "found key 'ready_timeout_s'"),
        ('{"cpu": "2 cores"}', "serving: cpu: found 2 cores, expected a quantity"),
        ('{"wait_for_rollout_s": -1}', "wait_for_rollout_s: found -1.0, expected 0 or more"),
        ('{"min_replicas": "x"}', "serving: min_replicas: found 'x'"),
        ('{"min_replicas": 3, "max_replicas": 2}', "max_replicas: found 2, expected at least min"),
        ('{"image": "predictor"}', "image: found predictor, expected registry/name:tag"),
        ('{"image": "r.io/predictor:latest"}', "expected a tag that does not move"),
        ('{"image": "r.io/p:1", "runtime": "x"}', "more than one of image, runtime"),
        ('{"autoscaler": "vpa"}', "serving: autoscaler: found 'vpa'"),
        ('{"autoscaler": "kpa", "scale_metric": "cpu"}', "expected one of concurrency, rps"),
        ('{"scale_metric": "cpu"}', "scale_metric: found cpu with autoscaler none"),
        ('{"autoscaler": "hpa", "scale_target": 101}', "scale_target: found 101"),
        ('{"autoscaler": "keda"}', "keda_query: found autoscaler keda with 0 of"),
        ('{"keda_query": "up"}', "keda_query: found autoscaler none with 1 of"),
        ('{"env": {"DB_PASSWORD": "x"}}', "env: found DB_PASSWORD, expected secrets in secret_env"),
        ('{"secret_env": {"A": "no-key"}}', "secret_env A: found no-key, expected secret/key"),
        ('{"logger_url": "ftp://x"}', "logger_url: found ftp://x, expected an http"),
        ('{"service_account": "A_b"}', "service_account: found A_b"),
        ('{"transformer_image": "r.io/t:latest"}', "transformer_image: found r.io/t:latest"),
        ('{"transformer_args": ["--cache"]}', "transformer_args: found some without transformer_"),
        (
            '{"transformer_image": "r.io/t:1", "transformer_secret_env": {"A": "x"}}',
            "secret_env A: found x, expected secret/key",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(text: str, message: str):
    with pytest.raises(InputError, match=message) as refusal:
        parse_settings(text, ready_timeout_s=300.0, tf_threads=1)
    assert "\n" not in str(refusal.value)


def test_no_settings_are_the_defaults():
    assert parse_settings("", tf_threads=2) == DeploySettings(tf_threads=2)
    given = parse_settings('{"pull_secrets": ["a"], "min_replicas": 0}')
    assert (given.pull_secrets, given.min_replicas) == (("a",), 0)
