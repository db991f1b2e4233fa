"""Rollouts on what a real Prometheus scraped from real predictors behind the local platform."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.rollout.clock import Clock, SystemClock
from components.rollout.outcome import Outcome
from components.rollout.policy import RolloutPolicy
from components.rollout.rollout import roll_out
from serving.platform import RevisionMetrics
from serving.platform.local import LocalPlatform
from serving.platform.metric_profiles import KNATIVE_1_19, SHOPFLOW, MetricProfile
from serving.platform.prometheus import PrometheusSource
from serving.platform.prometheus_api import PrometheusSettings
from tests.ports import free_port
from tests.rollout.test_rollout_live import NORMAL_MS, Shop, Traffic
from tests.serving.exporter import Exporter
from tests.serving.prometheus_server import PrometheusServer

POLICY = RolloutPolicy(steps=(30, 100), min_requests=60, alpha=1e-4, poll_s=0.2, step_timeout_s=120)


class Watched(LocalPlatform):
    """The local platform with its metrics from Prometheus, as KServe's are."""

    def __init__(self, folder: Path, url: str, profile: MetricProfile) -> None:
        super().__init__(folder / "state", namespace="test")
        self._source = PrometheusSource(PrometheusSettings(url, timeout_s=5), profile)

    def metrics(self, service: str) -> Mapping[str, RevisionMetrics]:
        status = self.status(service)
        revisions = [one.name for one in (status.stable, status.canary) if one is not None]
        return self._source.read(service, namespace="test", revisions=revisions)


class Hurried:
    """A clock on which sleeping takes no time."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds


class Monitored:
    """The shop, and a Prometheus that scrapes its predictors themselves."""

    def __init__(self, folder: Path, shop: Shop) -> None:
        self._folder, self.shop, self._targets = folder, shop, folder / "targets.json"
        self._targets.write_text("[]")
        self._deployed = 0
        scrape = {"job_name": "predictors", "file_sd_configs": [{"files": [str(self._targets)]}]}
        self.prometheus = PrometheusServer(folder / "prometheus", [scrape])

    def deploy(self, *, fail_every: int = 0, also: int | None = None) -> None:
        """Deploy another revision, and have it scraped, and what else is on a port."""
        self._deployed += 1  # equal revisions would be one
        self.shop.deploy(delay_ms=NORMAL_MS + self._deployed, fail_every=fail_every)
        state = json.loads((self._folder / "state" / "test" / "shop" / "status.json").read_text())
        groups: list[dict[str, Any]] = []
        if also is not None:
            groups.append({"targets": [f"127.0.0.1:{also}"], "labels": {"namespace": "test"}})
        for revision in state["revisions"].values():
            words = Path(f"/proc/{revision['pid']}/cmdline").read_text().split("\0")
            port = words[words.index("--http_port") + 1]
            labels = {"namespace": "test", "pod": f"pod-{revision['pid']}"}
            groups.append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
        self._targets.write_text(json.dumps(groups))

    def roll_out(
        self,
        *,
        url: str = "",
        profile: MetricProfile = SHOPFLOW,
        policy: RolloutPolicy = POLICY,
        clock: Clock | None = None,
    ) -> Outcome:
        return roll_out(
            release_path=self._folder / "release.json",
            policy=policy,
            outcome_path=self._folder / "outcome.json",
            report_path=self._folder / "report.html",
            platform=Watched(self._folder, url or self.prometheus.url, profile),
            clock=clock or SystemClock(),
        )


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """A service with a stable revision, and nothing scraped yet."""
    from tests.serving.tiny_package import publish_tiny

    folder = tmp_path_factory.mktemp("monitored")
    shop = Shop(folder, publish_tiny(folder / "store"))
    found = Monitored(folder, shop)
    try:
        found.deploy()
        shop.platform.set_traffic("shop", 100)
        shop.platform.promote("shop")
        yield found
    finally:
        shop.platform.delete("shop")
        found.prometheus.stop()


def roll_out_without_data(monitored: Monitored, **where: Any) -> Outcome:
    """Roll out with users who ask all the time, and metrics that are none."""
    status = monitored.shop.platform.status("shop")
    patient = replace(POLICY, poll_s=5.0, step_timeout_s=60.0)
    with Traffic(status.url) as traffic:
        while traffic.codes[status.stable.name, 200] < 60:
            time.sleep(0.05)
        outcome = monitored.roll_out(policy=patient, clock=Hurried(), **where)
    after = monitored.shop.platform.status("shop")
    assert (after.canary, after.stable.name) == (None, status.stable.name)
    assert after.last_rollback.reason == outcome.reason
    return outcome


def assert_rolled_back_for_want_of_data(outcome: Outcome) -> None:
    assert outcome.outcome == "rolled_back"
    assert "only 0 requests of the canary and 0 of the stable" in outcome.reason
    assert "60 s" in outcome.reason
    assert [(step.traffic_percent, step.elapsed_s) for step in outcome.steps] == [(30, 60)]


def test_with_another_systems_profile_a_rollout_holds_then_rolls_back_saying_so(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
):
    monitored.deploy()
    outcome = roll_out_without_data(monitored, profile=KNATIVE_1_19)
    assert_rolled_back_for_want_of_data(outcome)
    assert not [line for line in caplog.messages if "Prometheus" in line]


def test_with_prometheus_down_a_rollout_holds_then_rolls_back_saying_so(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
):
    monitored.deploy()
    url = f"http://127.0.0.1:{free_port()}"
    assert_rolled_back_for_want_of_data(roll_out_without_data(monitored, url=url))
    # Once before the rollout, once as the step begins, and 12 looks of 5 s each.
    refused = [line for line in caplog.messages if f"Prometheus {url}: no answer" in line]
    assert len(refused) == 14


def test_with_nan_among_the_counts_a_rollout_holds_then_rolls_back_saying_so(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
):
    broken = Exporter()
    broken.start()
    try:
        monitored.deploy(also=broken.port)
        canary = monitored.shop.platform.status("shop").canary.name
        labels = {"model_name": "shop", "revision": canary, "code": "200"}
        broken.put("shopflow_predictor_requests_total", labels, float("nan"))
        query = f'shopflow_predictor_requests_total{{revision="{canary}"}} != 0'
        while not any(one["value"][1] == "NaN" for one in monitored.prometheus.query(query)):
            time.sleep(0.1)
        assert_rolled_back_for_want_of_data(roll_out_without_data(monitored))
    finally:
        broken.stop()
    assert len([line for line in caplog.messages if "found NaN, expected a count" in line]) == 14


def test_canary_with_20_percent_errors_is_rolled_back_by_what_prometheus_saw(monitored: Monitored):
    monitored.deploy(fail_every=5)
    status = monitored.shop.platform.status("shop")
    with Traffic(status.url) as traffic:
        outcome = monitored.roll_out()
    assert outcome.outcome == "rolled_back"
    assert "error rate" in outcome.reason
    step = outcome.steps[0]
    failed = traffic.codes[status.canary.name, 500]
    assert 0 < step.canary.errors <= failed
    assert step.stable.errors == 0
    assert monitored.shop.platform.status("shop").canary is None


def test_good_candidate_is_promoted_by_what_prometheus_saw(monitored: Monitored):
    monitored.deploy()
    candidate = monitored.shop.platform.status("shop").canary.name
    with Traffic(monitored.shop.platform.status("shop").url) as traffic:
        outcome = monitored.roll_out()
    assert outcome.outcome == "promoted"
    assert monitored.shop.platform.status("shop").stable.name == candidate
    answered = sum(count for (name, _), count in traffic.codes.items() if name == candidate)
    seen = sum(step.canary.requests for step in outcome.steps)
    assert 120 <= seen <= answered
    # Seconds became milliseconds: every answer waits for 30 ms, a bucket is 15 % wide.
    assert all(step.canary.p50_ms > NORMAL_MS / 1.2 for step in outcome.steps)
