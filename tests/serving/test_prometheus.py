"""The metrics source against a real Prometheus that scrapes real pages on loopback."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from serving.platform import PlatformError, RevisionMetrics
from serving.platform.metric_profiles import PROFILES, SHOPFLOW, find_profile
from serving.platform.prometheus import PrometheusSource
from serving.platform.prometheus_api import PrometheusSettings
from tests.serving import exporter as pages
from tests.serving.exporter import Exporter, shopflow
from tests.serving.prometheus_server import PrometheusServer, static

SYSTEMS: dict[str, pages.System] = {
    "knative-before-1.19": pages.knative_before_1_19,
    "knative-1.19": pages.knative_1_19,
    "istio": pages.istio,
    "tf-serving": pages.tf_serving,
    "shopflow": pages.shopflow,
}
Counters = Mapping[str, RevisionMetrics]


class World:
    """A Prometheus and the pods it scrapes; a pod is used by one test only."""

    def __init__(self, folder: Path, pods: int) -> None:
        self._free, self._used = [Exporter() for _ in range(pods)], list[Exporter]()
        targets = [
            (one.port, {"namespace": "test", "pod": f"pod-{number}"})
            for number, one in enumerate(self._free)
        ]
        self.prometheus = PrometheusServer(folder, [static("pods", *targets)])

    def pod(self) -> Exporter:
        """Return a pod of one's own that runs."""
        found = self._free.pop()
        found.start()
        self._used.append(found)
        return found

    def source(self, profile: str = "shopflow") -> PrometheusSource:
        return PrometheusSource(PrometheusSettings(self.prometheus.url), find_profile(profile))

    def wait_scraped(self, revision: str, *, pods: int = 1) -> None:
        """Wait until Prometheus has a revision's requests from so many pods."""
        query = f'shopflow_predictor_requests_total{{revision="{revision}"}}'
        wait_until(lambda: len(self.prometheus.query(query)) == pods)

    def stop(self) -> None:
        for one in self._used:
            one.stop()
        self.prometheus.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(tmp_path_factory.mktemp("prometheus"), pods=32)
    yield found
    found.stop()


def read(source: PrometheusSource, *revisions: str, service: str = "shop") -> Counters:
    return source.read(service, namespace="test", revisions=revisions)


def wait_for(source: PrometheusSource, revision: str, **expected: int) -> RevisionMetrics:
    """Look until the revision's requests by code are these, as `_200=3`."""
    wanted = {int(code.strip("_")): count for code, count in expected.items()}
    found: Counters = {}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = read(source, revision)
        # Latencies are asked for a moment later and may be those of the next scrape.
        if revision in found and {k: v for k, v in found[revision].requests.items() if v} == wanted:
            return read(source, revision)[revision]
        time.sleep(0.05)
    raise AssertionError(f"{revision}: found {found}, expected {wanted}")


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("system", SYSTEMS)
def test_requests_by_revision_and_code_and_latencies_in_ms(world: World, system: str):
    stable, canary, source = f"{system}-00001", f"{system}-00002", world.source(system)
    assert read(source, stable, canary) == {}
    speak = SYSTEMS[system]
    stable_pod, canary_pod = world.pod(), world.pod()
    speak(stable_pod, stable, code=200, ms=3, times=5)
    speak(canary_pod, canary, code=200, ms=30, times=7)
    speak(canary_pod, canary, code=503, ms=700, times=2)
    found = wait_for(source, canary, _200=7, _503=2)
    # TF Serving times successful requests only.
    slow = 0 if system == "tf-serving" else 2
    assert found.latency_ms == {
        bound: 7 * (bound >= 30) + slow * (bound >= 700) for bound in found.latency_ms
    }
    assert any(30 <= bound <= 60 for bound in found.latency_ms)
    assert max(found.latency_ms.values()) == 7 + slow
    assert wait_for(source, stable, _200=5).requests == {200: 5}

    # No other profile sees them: no data, and no zeros that would look healthy.
    for other in PROFILES.keys() - {system}:
        assert read(world.source(other), stable, canary) == {}
    # Somebody who looks for the first time finds what the processes have counted so far.
    assert read(world.source(system), canary) == {canary: found}


def test_restarted_pod_takes_nothing_away_and_counts_again_from_zero(world: World):
    one, two, source = world.pod(), world.pod(), world.source()
    shopflow(one, "restart", code=200, ms=5, times=100)
    shopflow(two, "restart", code=200, ms=5, times=40)
    world.wait_scraped("restart", pods=2)
    assert read(source, "restart")["restart"].requests == {200: 140}
    shopflow(one, "restart", code=200, ms=5, times=10)
    wait_for(source, "restart", _200=150)
    one.stop()
    shopflow(one, "restart", code=200, ms=5, times=3)
    one.start()
    # The sum of both pods fell from 150 to 43.
    found = wait_for(source, "restart", _200=153)
    assert max(found.latency_ms.values()) == 153
    shopflow(two, "restart", code=500, ms=900, times=1)
    found = wait_for(source, "restart", _200=153, _500=1)
    assert found.latency_ms[float("inf")] == 154


def test_pod_that_goes_leaves_its_counts_and_a_new_one_adds_to_them(world: World):
    old, source = world.pod(), world.source()
    assert read(source, "scaled") == {}
    shopflow(old, "scaled", code=200, ms=5, times=20)
    wait_for(source, "scaled", _200=20)
    old.stop()
    world.wait_scraped("scaled", pods=0)
    # Nothing is scraped any more: the counters stand still, which a rollout sees as no requests.
    assert read(source, "scaled")["scaled"].requests == {200: 20}
    shopflow(world.pod(), "scaled", code=200, ms=5, times=4)
    wait_for(source, "scaled", _200=24)


def test_first_error_of_a_pod_is_counted(world: World):
    pod, source = world.pod(), world.source()
    shopflow(pod, "first-error", code=200, ms=5, times=10)
    world.wait_scraped("first-error")
    assert read(source, "first-error")["first-error"].requests == {200: 10}
    shopflow(pod, "first-error", code=500, ms=5, times=1)
    wait_for(source, "first-error", _200=10, _500=1)


def test_names_are_values_whatever_is_in_them(world: World):
    shopflow(world.pod(), "quoted", code=200, ms=5, times=9)
    world.wait_scraped("quoted")
    assert "quoted" in read(world.source(), "quoted")
    for service in (
        'shop"} or up{job="pods',
        'x",revision=~".*',
        "sh.p",
        "{namespace}",
        "a\\",
        "\n",
    ):
        assert read(world.source(), "quoted", service=service) == {}
    for revision in (".*", "quoted|", "quote.", 'quoted"', "quoted\\", "(", "\n", "ключ"):
        assert read(world.source(), revision) == {}
    assert world.source().read("shop", namespace="other", revisions=["quoted"]) == {}
    assert world.source().read("shop", namespace="test", revisions=[]) == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.5])
def test_what_cannot_be_a_count_is_refused(world: World, value: float):
    revision = f"odd-{value}"
    labels = {"model_name": "shop", "revision": revision, "code": "200"}
    source = world.source()
    world.pod().put("shopflow_predictor_requests_total", labels, value)
    world.wait_scraped(revision)
    with pytest.raises(PlatformError, match="expected a count") as refused:
        read(source, revision)
    assert revision in str(refused.value) and "\n" not in str(refused.value)


def test_unknown_status_is_refused(world: World):
    labels = {"model_name": "shop", "revision": "no-status", "code": "ok"}
    world.pod().put("shopflow_predictor_requests_total", labels, 5)
    world.wait_scraped("no-status")
    with pytest.raises(PlatformError, match="found code='ok', expected a status"):
        read(world.source(), "no-status")


def test_requests_without_latencies_are_refused(world: World):
    labels = {"model_name": "shop", "revision": "untimed"}
    pod, source = world.pod(), world.source()
    pod.put("shopflow_predictor_requests_total", labels | {"code": "200"}, 5)
    world.wait_scraped("untimed")
    with pytest.raises(PlatformError, match="no shopflow_predictor_request_seconds_bucket"):
        read(source, "untimed")
    pod.put("shopflow_predictor_request_seconds_bucket", labels | {"le": "+Inf"}, 5)
    query = 'shopflow_predictor_request_seconds_bucket{revision="untimed"}'
    wait_until(lambda: world.prometheus.query(query) != [])
    # That look was refused, so this one is the first: what was before is not what happened since.
    assert read(source, "untimed")["untimed"].requests == {200: 0}


def test_pods_whose_bounds_differ_are_refused(world: World):
    source = world.source()
    assert read(source, "mixed") == {}
    shopflow(world.pod(), "mixed", code=200, ms=5, times=5)
    other = world.pod()
    labels = {"model_name": "shop", "revision": "mixed"}
    other.put("shopflow_predictor_request_seconds_bucket", labels | {"le": "0.03"}, 7)
    other.put("shopflow_predictor_request_seconds_bucket", labels | {"le": "+Inf"}, 7)

    def look() -> str:
        try:
            return str(read(source, "mixed"))
        except PlatformError as error:
            return str(error)

    wait_until(lambda: "bounds differ" in look())


def test_prometheus_that_went_away_is_an_error_and_the_next_look_makes_up_for_it(tmp_path: Path):
    pod = Exporter()
    pod.start()
    server = PrometheusServer(tmp_path, [static("pods", (pod.port, {"namespace": "test"}))])
    port = int(server.url.rpartition(":")[2])
    source, late = (PrometheusSource(PrometheusSettings(server.url), SHOPFLOW) for _ in range(2))
    try:
        assert read(source, "back") == {}
        shopflow(pod, "back", code=200, ms=5, times=4)
        wait_for(source, "back", _200=4)
        server.stop()
        for looking in (source, late):
            with pytest.raises(PlatformError, match=r"no answer: .*refused"):
                read(looking, "back")
        shopflow(pod, "back", code=500, ms=5, times=2)
        server = PrometheusServer(
            tmp_path, [static("pods", (pod.port, {"namespace": "test"}))], port=port
        )
        wait_for(source, "back", _200=4, _500=2)
        # Whose first look failed has nothing to subtract from what he finds: it is a start.
        assert read(late, "back")["back"].requests == {200: 0, 500: 0}
        shopflow(pod, "back", code=500, ms=5, times=3)
        assert wait_for(late, "back", _500=3).latency_ms[float("inf")] == 3
    finally:
        server.stop()
        pod.stop()


def test_scrape_target_that_was_two_revisions_is_refused(world: World):
    """Where no pod label tells them apart, an address may have been given to another revision."""
    pod, source = world.pod(), world.source("knative-1.19")
    pages.knative_1_19(pod, "moved-00001", code=200, ms=3, times=5)
    pages.knative_1_19(pod, "moved-00002", code=200, ms=3, times=5)
    query = 'target_info{kn_revision_name=~"moved.*"}'
    wait_until(lambda: len(world.prometheus.query(query)) == 2)
    with pytest.raises(PlatformError, match="found two revisions there"):
        read(source, "moved-00001", "moved-00002")


def test_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(PlatformError, match="found 'knative', expected one of .*knative-1.19"):
        find_profile("knative")
