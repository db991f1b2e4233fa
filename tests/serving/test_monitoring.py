"""The monitoring manifests: what Prometheus and its promtool say of them, with a real predictor."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving.platform import FeedbackCounts
from serving.platform.feedback_profiles import SHOPFLOW as FEEDBACK
from serving.platform.metric_profiles import SHOPFLOW, TF_SERVING
from serving.platform.prometheus import PrometheusSource
from serving.platform.prometheus_api import PrometheusApi, PrometheusSettings
from serving.platform.prometheus_feedback import PrometheusFeedback
from serving.platform.temporary import TEMPORARY_OF
from tests.serving.exporter import Exporter, tf_serving
from tests.serving.prometheus_server import PrometheusServer, static

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "serving" / "manifests" / "monitoring"
BODY = {
    "signature_name": "recommend",
    "instances": [{"user": "u", "history": ["item1"], "k": 3}],
}
KNATIVE, STANDARD = "shop-predictor-00001", "tf-red-predictor"


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((MANIFESTS / name).read_text())


def relabelings() -> list[dict[str, Any]]:
    """Return the PodMonitor's relabelings in Prometheus' own spelling."""
    found = manifest("pod-monitor.yaml")["spec"]["podMetricsEndpoints"][0]["relabelings"]
    return [
        {
            re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", key): value
            for key, value in one.items()
        }
        for one in found
    ]


def pod(container: str, **meta: str) -> dict[str, str]:
    """Return what service discovery and the operator say of a container."""
    return {
        "__meta_kubernetes_pod_container_name": container,
        **{f"__meta_kubernetes_pod_{name}": value for name, value in meta.items()},
        "container": container,
        "namespace": "test",
    }


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as Prometheus reads them, which is the resource's spec."""
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(manifest("prometheus-rule.yaml")["spec"]))
    return file


@pytest.fixture(scope="module")
def tensorflow_serving() -> Iterator[Exporter]:
    """A page as TF Serving's, which says nothing of revisions."""
    found = Exporter()
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory,
    predictor: httpx.Client,
    tensorflow_serving: Exporter,
    rules: Path,
) -> Iterator[PrometheusServer]:
    """A Prometheus with the rules, that finds its targets as the PodMonitor tells it to."""
    knative = pod(
        "kserve-container",
        label_app=KNATIVE,
        label_serving_knative_dev_revision=KNATIVE,
        annotation_prometheus_kserve_io_port=str(predictor.base_url.port),
    )
    standard = pod(
        "kserve-container",
        label_app=f"isvc.{STANDARD}",
        annotation_prometheus_kserve_io_port=str(tensorflow_serving.port),
        annotation_prometheus_kserve_io_path="/monitoring/prometheus/metrics",
    )
    undeclared = pod("kserve-container", label_app="isvc.bare-predictor")
    sidecar = pod("queue-proxy", label_serving_knative_dev_revision=KNATIVE)
    server = PrometheusServer(
        tmp_path_factory.mktemp("monitoring"),
        [
            static(
                "test/shopflow-predictor",
                (1, knative),
                (2, standard),
                (3, undeclared),
                (4, sidecar),
                relabel_configs=relabelings(),
            )
        ],
        rules=rules,
    )
    server.wait_until_up(2)
    yield server
    server.stop()


def test_pod_monitor_finds_page_and_revision_in_both_modes(
    prometheus: PrometheusServer, predictor: httpx.Client, tensorflow_serving: Exporter
):
    found = prometheus.http.get("/api/v1/targets").json()["data"]["activeTargets"]
    assert {one["scrapeUrl"]: one["labels"]["revision"] for one in found} == {
        f"http://127.0.0.1:{predictor.base_url.port}/metrics": KNATIVE,
        f"http://127.0.0.1:{tensorflow_serving.port}/monitoring/prometheus/metrics": STANDARD,
        "http://127.0.0.1:8080/metrics": "bare-predictor",
    }


def test_pod_monitor_leaves_temporary_services_alone():
    """Their end would be an outage to the alert on traffic that ceases."""
    expressions = manifest("pod-monitor.yaml")["spec"]["selector"]["matchExpressions"]
    assert {"key": TEMPORARY_OF, "operator": "DoesNotExist"} in expressions


def test_real_predictor_is_read_through_the_pod_monitor(
    prometheus: PrometheusServer, predictor: httpx.Client
):
    source = PrometheusSource(PrometheusSettings(prometheus.url), SHOPFLOW)
    source.read("shop", namespace="test", revisions=[KNATIVE])
    started = time.perf_counter()
    for _ in range(6):
        assert predictor.post("/v1/models/shop:predict", json=BODY).status_code == 200
    took_ms = (time.perf_counter() - started) * 1000
    for _ in range(2):
        assert predictor.post("/v1/models/shop:predict", json={"instances": []}).status_code == 400
    deadline = time.monotonic() + 60
    while True:
        found = source.read("shop", namespace="test", revisions=[KNATIVE]).get(KNATIVE)
        if found is not None and found.requests == counted(predictor):
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    found = source.read("shop", namespace="test", revisions=[KNATIVE])[KNATIVE]
    assert found.requests[200] >= 6 and found.requests[400] == 2
    # No request took longer than all of them, none took a thousandth of a real one's time.
    assert max(found.latency_ms.values()) == sum(found.requests.values())
    assert min(count for bound, count in found.latency_ms.items() if bound > took_ms) >= 6
    assert found.latency_ms[0.5] < 8


def counted(predictor: httpx.Client) -> dict[int, int]:
    """Return the requests by status code as the predictor's own page has them."""
    page = predictor.get("/metrics").text
    line = r'^shopflow_predictor_requests_total\{.*code="(\d+)".*\} (\S+)$'
    lines = re.findall(line, page, re.MULTILINE)
    return {int(code): int(float(count)) for code, count in lines}


def test_feedback_about_another_revision_keeps_its_name_through_the_pod_monitor(
    prometheus: PrometheusServer, predictor: httpx.Client
):
    """The scrape says whose page it is, which must not become whose answers were clicked."""
    other = "shop-predictor-00002"
    report = {"revision": other, "impressions": 5, "clicks": 2}
    assert predictor.post("/v1/feedback", json=report).status_code == 204
    settings = PrometheusSettings(prometheus.url)
    feedback = PrometheusFeedback(PrometheusApi(settings), FEEDBACK, now_s=time.monotonic)
    deadline = time.monotonic() + 60
    while feedback.read("test", "shop", other) != FeedbackCounts(5, 2):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert feedback.read("test", "shop", KNATIVE) is None


def test_tf_serving_has_its_revision_from_the_pod_monitor(
    prometheus: PrometheusServer, tensorflow_serving: Exporter
):
    source = PrometheusSource(PrometheusSettings(prometheus.url), TF_SERVING)
    assert source.read("shop", namespace="test", revisions=[STANDARD]) == {}
    tf_serving(tensorflow_serving, "", code=200, ms=30, times=3)
    deadline = time.monotonic() + 60
    while not (found := source.read("shop", namespace="test", revisions=[STANDARD])):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found[STANDARD].requests == {200: 3}


def test_every_expression_of_the_dashboard_has_an_answer_from_a_real_predictor(
    prometheus: PrometheusServer, predictor: httpx.Client
):
    dashboard = json.loads((MANIFESTS / "dashboard.json").read_text())
    panels = {panel["title"]: panel for panel in dashboard["panels"]}
    assert len(panels) == len(dashboard["panels"])
    expressions = {
        f"{title} {target['legendFormat']}": target["expr"]
        for title, panel in panels.items()
        for target in panel["targets"]
    }
    names = {"namespace": "test", "model": "shop", "__rate_interval": "20s"}
    deadline = time.monotonic() + 60
    empty = dict(expressions)
    while empty:
        assert time.monotonic() < deadline, empty
        predictor.post("/v1/models/shop:predict", json=BODY)
        for what, expression in list(empty.items()):
            filled = re.sub(r"\$(\w+)", lambda name: names[name[1]], expression)
            result = prometheus.query(filled)
            if result and all(one["value"][1] != "NaN" for one in result):
                assert {one["metric"]["revision"] for one in result} == {KNATIVE}
                del empty[what]
    share = re.sub(
        r"\$(\w+)", lambda name: names[name[1]], expressions["Share of the requests {{revision}}"]
    )
    assert float(prometheus.query(share)[0]["value"][1]) == pytest.approx(1.0)


def test_variables_of_the_dashboard_exist(prometheus: PrometheusServer, predictor: httpx.Client):
    predictor.post("/v1/models/shop:predict", json=BODY)
    dashboard = json.loads((MANIFESTS / "dashboard.json").read_text())
    queries = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    expected = {"namespace": "test", "model_name": "shop"}
    for query in queries:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query["query"]).groups()
        deadline = time.monotonic() + 60
        while not (found := prometheus.query(series.replace("$namespace", "test"))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert {one["metric"][label] for one in found} == {expected.pop(label)}
    assert not expected


def test_prometheus_takes_the_rules_and_evaluates_them(prometheus: PrometheusServer):
    def loaded() -> list[dict[str, Any]]:
        groups = prometheus.http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    deadline = time.monotonic() + 60
    while {rule["health"] for rule in loaded()} != {"ok"}:
        assert time.monotonic() < deadline, loaded()
        time.sleep(0.1)
    assert {rule["name"] for rule in loaded()} == {
        "ShopflowErrors",
        "ShopflowSlow",
        "ShopflowNoTraffic",
        "ShopflowCanaryStuck",
    }


def test_alerts_fire_when_they_should_and_only_then(rules: Path):
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on PATH; Debian: apt-get install prometheus")
    test = rules.with_name("test.yaml")
    written = Path(__file__).with_name("alerts_test.yaml").read_text()
    test.write_text(written.replace("[RULES]", f"[{rules}]"))
    for words in (["check", "rules", str(rules)], ["test", "rules", str(test)]):
        shown = subprocess.run(["promtool", *words], capture_output=True, text=True)
        assert shown.returncode == 0, shown.stdout + shown.stderr


def test_kustomization_names_every_manifest():
    for folder in (MANIFESTS, MANIFESTS / "knative"):
        named = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = {
            item.partition("=")[2]
            for generator in named.get("configMapGenerator", [])
            for item in generator["files"]
        } | set(named["resources"])
        there = {path.name for path in folder.iterdir() if path.is_file()}
        assert files == there - {"kustomization.yaml"}
