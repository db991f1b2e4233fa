"""Which of KServe's modes a service is run in, by what the cluster says."""

import json

import pytest

from serving.platform import PlatformError, connect
from serving.platform.deployment_mode import KServeConfig, deployment_mode, parse_config
from serving.platform.kserve_options import KServeOptions, parse_options

ANNOTATION = "serving.kserve.io/deploymentMode"


@pytest.mark.parametrize(
    ("status", "annotation", "default", "mode"),
    [
        ("Standard", "Knative", "Knative", "Standard"),  # what runs goes before what is written
        (None, "Knative", "Standard", "Knative"),
        (None, None, "Standard", "Standard"),
        ("RawDeployment", None, None, "Standard"),  # the names before KServe 0.16
        ("Serverless", None, None, "Knative"),
        (None, None, "Serverless", "Knative"),
    ],
)
def test_mode_is_the_status_then_the_annotation_then_the_default(status, annotation, default, mode):
    live = {"status": {"deploymentMode": status}} if status else None
    annotations = {ANNOTATION: annotation} if annotation else {}
    assert deployment_mode(live, annotations, KServeConfig(default)) == mode


def test_mode_that_nothing_tells_is_an_error_and_not_a_guess():
    with pytest.raises(PlatformError, match="found neither a status, the annotation"):
        deployment_mode(None, {}, KServeConfig())
    with pytest.raises(PlatformError, match="found 'ModelMesh', expected Knative or Standard"):
        deployment_mode(None, {ANNOTATION: "ModelMesh"}, KServeConfig())


def test_configuration_is_read_from_kserve_s_configmap():
    data = {
        "deploy": json.dumps({"defaultDeploymentMode": "Serverless"}),
        "ingress": json.dumps({"enableGatewayApi": True, "ingressDomain": "example.com"}),
    }
    assert parse_config(data) == KServeConfig("Serverless", gateway_api=True, routes=True)
    assert parse_config({}) == KServeConfig(None, None, None)
    assert parse_config({"deploy": "{}"}).default_mode == "Standard"  # KServe's own fallback
    local = {"ingress": json.dumps({"ingressDomain": "svc.cluster.local"})}
    assert parse_config(local).routes is False
    with pytest.raises(PlatformError, match="inferenceservice-config: found deploy"):
        parse_config({"deploy": "{"})


def test_options_of_the_platform_are_key_value_pairs():
    assert parse_options("") == KServeOptions()
    text = "prometheus=http://prometheus.monitoring:9090,profile=istio,context=shop"
    assert parse_options(text) == KServeOptions(
        prometheus="http://prometheus.monitoring:9090", profile="istio", context="shop"
    )
    text = "prometheus=https://metrics.example,token_file=/run/token,ca_file=/run/ca.crt"
    assert parse_options(text) == KServeOptions(
        prometheus="https://metrics.example", token_file="/run/token", ca_file="/run/ca.crt"
    )
    # A selector's commas and braces are its own.
    views, clicks = 'v{ns="{namespace}",r="{revision}"}', 'c{r="{revision}",x="},"}'
    assert parse_options(f"impressions={views},clicks={clicks},context=shop") == KServeOptions(
        impressions=views, clicks=clicks, context="shop"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("metrics=x", "found 'metrics=x', expected prometheus=…, profile=…"),
        ("prometheus", "found 'prometheus'"),
        ("context=", "found 'context='"),
        ("context=a,context=b", "found 'context=b'.*each once"),
        ("prometheus=http://far:9090,token_env=TOKEN", "found a token for .*expected https"),
        ("clicks=a{,context=shop", "found 'clicks=a{,context=shop', expected braces and quotes"),
        ("prometheus=prometheus:9090", "found prometheus=prometheus:9090, expected an http"),
    ],
)
def test_options_nobody_knows_are_refused_in_one_line(options: str, message: str):
    with pytest.raises(PlatformError, match=message) as refusal:
        connect(f"kserve:{options}")
    assert "\n" not in str(refusal.value)


def test_no_cluster_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(PlatformError, match="found no cluster .*expected a service account") as no:
        connect("kserve")
    assert "\n" not in str(no.value)
    with pytest.raises(PlatformError, match="namespace: found '../x'"):
        connect("kserve", namespace="../x")
