"""Releases where everything is real at once: KServe, Prometheus, the servers, the rollout step.

KServe's own controller and webhooks make the pods of what the platform asks for. Each predictor pod
has a real server, which a real Prometheus scrapes as the PodMonitor says. Users are sent to the
revisions in the split that the cluster reports, as a gateway would, and the shop reports what they
clicked to whatever server of the service. The rollout step knows nothing but the platform's name.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings
from components.rollout.outcome import Outcome
from components.rollout.policy import RolloutPolicy
from components.rollout.rollout import roll_out
from serving.platform import ServiceStatus, connect
from serving.platform.kserve import KServePlatform
from tests.cluster.cluster import Cluster
from tests.cluster.inference_services import MODE
from tests.cluster.kserve_stand_in import cluster_of
from tests.cluster.running_pods import RunningPods
from tests.serving.prometheus_server import PrometheusServer
from tests.serving.test_monitoring import relabelings

SERVICE = "recommender"
PREDICT = f"/v1/models/{SERVICE}:predict"
FIRST, GOOD, FAILING = (f"gs://models/{SERVICE}/{number}" for number in (1, 2, 3))
# A busy machine makes both sides slow; what is judged here is errors and clicks.
POLICY = RolloutPolicy(
    steps=(50, 100),
    min_requests=60,
    alpha=1e-4,
    latency_floor_ms=20_000,
    max_p95_ms=30_000,
    business_metric="click-through",
    max_business_drop=0.2,
    poll_s=0.5,
    step_timeout_s=240,
)


class Users(AbstractContextManager["Users"]):
    """Asks all the time, by the split that the cluster reports, and clicks every other answer.

    Attributes:
        codes: Answers by revision and status code.
        unlike: Answers that named another revision than the one that was asked.
    """

    def __init__(self, platform: KServePlatform, pods: RunningPods) -> None:
        self._platform, self._pods = platform, pods
        self.codes: Counter[tuple[str, int]] = Counter()
        self.unlike: list[str] = []
        self._split: dict[str, int] = {}
        self._urls: dict[str, str] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._follow)]
        self._threads += [threading.Thread(target=self._visit, args=(n,)) for n in range(3)]

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(0.2):
            status = self._platform.status(SERVICE)
            found = [one for one in (status.stable, status.canary) if one is not None]
            servers = {one.name: self._pods.of(one.name) for one in found}
            self._urls = {name: running[0].url for name, running in servers.items() if running}
            self._split = {one.name: one.traffic_percent for one in found}

    def _visit(self, number: int) -> None:
        draw = random.Random(number)
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not self._stop.wait(0.01):
                split, urls = self._split, self._urls
                if not any(split.values()) or any(split[one] and one not in urls for one in split):
                    continue
                (revision,) = draw.choices(list(split), list(split.values()))
                body = {"signature_name": "recommend", "instances": [{"user": "u", "k": 3}]}
                try:
                    answer = client.post(urls[revision] + PREDICT, json=body)
                except httpx.TransportError:
                    continue  # its pod went with the revision, a moment after the split
                self.codes[revision, answer.status_code] += 1
                if answer.status_code == 200:
                    named = answer.headers["X-Shopflow-Revision"]
                    if named != revision:
                        self.unlike.append(f"{named} for {revision}")
                    report = {"revision": named, "impressions": 1, "clicks": draw.randint(0, 1)}
                    try:
                        client.post(f"{draw.choice(list(urls.values()))}/v1/feedback", json=report)
                    except httpx.TransportError:
                        continue


class Releases:
    """What a pipeline does with one package after the other."""

    def __init__(self, folder: Path, namespace: str, mode: str, platform: str) -> None:
        self._folder, self._namespace, self._mode = folder, namespace, mode
        self._name, self.platform = platform, self._connect(platform, namespace)

    @staticmethod
    def _connect(platform: str, namespace: str) -> KServePlatform:
        found = connect(platform, namespace=namespace)
        assert isinstance(found, KServePlatform)
        return found

    def deploy(self, package_uri: str) -> ServiceStatus:
        resource = build_inference_service(
            service=SERVICE,
            namespace=self._namespace,
            package_uri=package_uri,
            settings=DeploySettings(),
        )
        resource["metadata"]["annotations"] = {MODE: self._mode}
        status = self._connect(self._name, self._namespace).deploy(resource)
        assert status.canary is not None
        release = {
            "service": SERVICE,
            "platform": self._name,
            "namespace": self._namespace,
            "candidate_revision": status.canary.name,
            "package_uri": package_uri,
            "version": int(package_uri[-1]),
        }
        (self._folder / "release.json").write_text(json.dumps(release))
        return status

    def roll_out(self) -> Outcome:
        return roll_out(
            release_path=self._folder / "release.json",
            policy=POLICY,
            outcome_path=self._folder / "outcome.json",
            report_path=self._folder / "report.html",
        )

    def decided(self, revision: str) -> tuple[str, str]:
        """Return how a revision's release ended and why, from the record on the cluster."""
        log = self.platform.releases(SERVICE)
        (release,) = [one for one in log.releases if one.revision == revision]
        assert release.decided is not None
        return release.verdict, release.decided.why


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    """KServe's deployment mode, by the test's parameter."""
    return str(request.param)


@pytest.fixture
def pods(own_cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[RunningPods]:
    """The servers of the namespace's predictor pods; one package's server fails often."""
    from tests.serving.tiny_package import publish_tiny

    options: dict[str, tuple[str, ...]] = {FIRST: (), GOOD: (), FAILING: ("--fail_every=3",)}
    package = publish_tiny(tmp_path / "store")
    cluster = cluster_of(own_cluster.kubeconfig)
    with RunningPods(cluster, namespace, tmp_path, package=package, options=options) as running:
        yield running


@pytest.fixture
def releases(
    own_cluster: Cluster,
    namespace: str,
    mode: str,
    pods: RunningPods,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Releases]:
    """The platform as a pipeline names it, with the Prometheus that scrapes the pods' servers."""
    scrape = {
        "job_name": f"{namespace}/shopflow-predictor",
        "file_sd_configs": [{"files": [str(pods.targets)], "refresh_interval": "1s"}],
        "relabel_configs": relabelings(),
        # A server on a busy machine may need longer than a quarter of a second for its page.
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
    }
    prometheus = PrometheusServer(tmp_path / "prometheus", [scrape])
    monkeypatch.setenv("KUBECONFIG", str(own_cluster.kubeconfig))
    try:
        name = f"kserve:prometheus={prometheus.url},profile=shopflow"
        yield Releases(tmp_path, namespace, mode, name)
    finally:
        prometheus.stop()


def wait_for_server(pods: RunningPods, revision: str) -> None:
    deadline = time.monotonic() + 240
    while not pods.of(revision):
        assert time.monotonic() < deadline, [one.app for one in pods.all()]
        time.sleep(0.2)


def promoted_first(releases: Releases, pods: RunningPods) -> str:
    """Release the first package to everybody and return its revision once a server runs."""
    releases.deploy(FIRST)
    releases.platform.set_traffic(SERVICE, 100)
    stable = releases.platform.promote(SERVICE).stable
    assert stable is not None
    wait_for_server(pods, stable.name)
    return stable.name


@pytest.mark.parametrize("mode", ["Knative"], indirect=True)
def test_a_good_release_is_promoted_by_what_prometheus_scraped(
    releases: Releases, pods: RunningPods
):
    stable = promoted_first(releases, pods)
    with Users(releases.platform, pods) as users:
        candidate = releases.deploy(GOOD).canary.name
        wait_for_server(pods, candidate)
        outcome = releases.roll_out()
        after = releases.platform.status(SERVICE)
    assert (outcome.outcome, outcome.reason) == ("promoted", "every step passed")
    assert (after.stable.name, after.canary) == (candidate, None)
    assert [step.traffic_percent for step in outcome.steps] == [50, 100]
    for step in outcome.steps:
        # What Prometheus counted is some of what the users got, and nobody else's.
        assert 60 <= step.canary.requests <= users.codes[candidate, 200]
        assert step.canary.feedback.trials >= 60
        assert step.canary.feedback.rate == pytest.approx(0.5, abs=0.3)
    assert outcome.steps[0].stable.requests <= users.codes[stable, 200]
    assert releases.decided(candidate) == ("promoted", outcome.reason)
    assert {code for _, code in users.codes} == {200}
    # Knative told each server its revision, and each answer named it.
    assert users.unlike == []


@pytest.mark.parametrize("mode", ["Standard"], indirect=True)
def test_a_failing_release_is_rolled_back_by_what_prometheus_scraped_with_the_reason_in_the_record(
    releases: Releases, pods: RunningPods
):
    stable = promoted_first(releases, pods)
    with Users(releases.platform, pods) as users:
        candidate = releases.deploy(FAILING).canary.name
        wait_for_server(pods, candidate)
        outcome = releases.roll_out()
        after = releases.platform.status(SERVICE)
    assert outcome.outcome == "rolled_back"
    assert "error rate over stable's + 0.005" in outcome.reason
    (step,) = outcome.steps
    assert 5 <= step.canary.errors <= users.codes[candidate, 500]
    assert step.stable.errors == 0
    assert (after.stable.name, after.canary) == (stable, None)
    assert after.last_rollback.reason == outcome.reason
    assert releases.decided(candidate) == ("rolled back", outcome.reason)
    # Only the failing server's own users saw it fail.
    assert {code for name, code in users.codes if name != candidate} == {200}
    # The platform told each server its predictor's name, and each answer named the revision.
    assert users.unlike == []
