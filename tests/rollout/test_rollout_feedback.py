"""Rollouts by what the shop reports, with real servers, live traffic and reports over HTTP."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from components.rollout.clock import Clock, SystemClock
from components.rollout.outcome import Outcome
from components.rollout.policy import RolloutPolicy
from components.rollout.rollout import roll_out
from serving.platform.local import LocalPlatform
from tests.serving.stub_service import stub_service

# Errors and latencies are not what is tested here, on a machine that may be busy.
POLICY = RolloutPolicy(
    steps=(50, 100),
    min_requests=60,
    business_metric="click-through",
    max_business_drop=0.05,
    latency_floor_ms=10_000,
    max_p95_ms=30_000,
    poll_s=0.1,
    step_timeout_s=120,
)


class Shop:
    """Users who never stop asking, and a shop that reports what they clicked.

    Attributes:
        answered: Answers by revision.
        reports: Reports by status code.
    """

    def __init__(self, url: str, clicks_of_ten: dict[str, int]) -> None:
        """Prepare to report that of ten answers of a revision so many were clicked.

        Of a revision that is not named nothing is reported.
        """
        self.answered: Counter[str] = Counter()
        self.reports: Counter[int] = Counter()
        self._url, self._clicks, self._stop = url, clicks_of_ten, threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(n,)) for n in range(4)]

    def __enter__(self) -> "Shop":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, user: int) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                user += 4
                body = {"instances": [{"user": f"user{user}"}]}
                answer = client.post("/v1/models/shop:predict", json=body)
                revision = answer.headers["X-Shopflow-Revision"]
                self.answered[revision] += 1
                if revision in self._clicks:
                    clicked = user // 4 % 10 < self._clicks[revision]
                    report = {"revision": revision, "impressions": 1, "clicks": int(clicked)}
                    self.reports[client.post("/v1/feedback", json=report).status_code] += 1


class Release:
    """A stable revision, and candidates beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.platform = folder, LocalPlatform(folder / "state", namespace="test")
        self._deployed = 0
        self.deploy()
        self.platform.set_traffic("shop", 100)
        self.platform.promote("shop")

    def deploy(self) -> None:
        self._deployed += 1
        status = self.platform.deploy(stub_service(LABEL=str(self._deployed)))
        release = {
            "service": "shop",
            "platform": f"local:{self._folder}/state",
            "namespace": "test",
            "candidate_revision": status.canary.name,
            "package_uri": f"models/{self._deployed}",
            "version": self._deployed,
        }
        (self._folder / "release.json").write_text(json.dumps(release))
        self.url, self.stable, self.canary = (
            status.url,
            status.stable.name if status.stable else "",
            status.canary.name,
        )

    def roll_out(self, policy: RolloutPolicy = POLICY, clock: Clock | None = None) -> Outcome:
        return roll_out(
            release_path=self._folder / "release.json",
            policy=policy,
            outcome_path=self._folder / "outcome.json",
            report_path=self.report,
            clock=clock or SystemClock(),
        )

    @property
    def report(self) -> Path:
        return self._folder / "report.html"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    found = Release(tmp_path_factory.mktemp("feedback"))
    try:
        yield found
    finally:
        found.platform.delete("shop")


def test_canary_that_is_clicked_less_is_rolled_back_though_it_is_as_fast_and_as_sound(
    release: Release,
):
    release.deploy()
    with Shop(release.url, {release.stable: 5, release.canary: 1}) as shop:
        outcome = release.roll_out()
    assert outcome.outcome == "rolled_back"
    assert "click-through under stable's - 0.05" in outcome.reason
    (step,) = outcome.steps
    assert (step.canary.errors, step.stable.errors) == (0, 0)
    verdicts = {check.name.split()[0]: check.verdict for check in step.checks}
    assert verdicts == {
        "error": "passed",
        "p50": "passed",
        "p95": "passed",
        "click-through": "failed",
    }
    # What was counted is what was reported: each answer once, one of ten and one of two clicked.
    assert 60 <= step.canary.feedback.trials <= shop.answered[release.canary]
    assert step.canary.feedback.rate == pytest.approx(0.1, abs=0.1)
    assert step.stable.feedback.rate == pytest.approx(0.5, abs=0.15)
    # Reports about the canary that come after its end are about nobody.
    assert set(shop.reports) <= {204, 404}
    page = release.report.read_text()
    assert "Click-through" in page and "answers reported on" in page


def test_canary_that_is_clicked_as_often_is_promoted_with_the_evidence_in_its_record(
    release: Release,
):
    release.deploy()
    with Shop(release.url, {release.stable: 3, release.canary: 3}):
        outcome = release.roll_out()
    assert (outcome.outcome, len(outcome.steps)) == ("promoted", 2)
    for step in outcome.steps:
        assert step.canary.feedback.trials >= 60
        assert step.canary.feedback.rate == pytest.approx(0.3, abs=0.1)
        (check,) = [one for one in step.checks if one.name.startswith("click-through")]
        assert check.verdict == "passed"


class Impatient:
    """A clock that stands still until the canary has answered enough, and then is far too late."""

    def __init__(self, shop: Shop, canary: str) -> None:
        self._shop, self._canary = shop, canary

    def now_s(self) -> float:
        return 0.0 if self._shop.answered[self._canary] < 2 * POLICY.min_requests else 121.0

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.mark.parametrize("on_timeout", ["fail", "roll_back"])
@pytest.mark.parametrize("reported", ["nobody", "stable"])
def test_without_feedback_of_both_sides_it_holds_and_then_does_as_the_policy_says(
    release: Release, on_timeout: str, reported: str
):
    release.deploy()
    stable = release.platform.status("shop").stable.name
    told = {stable: 3} if reported == "stable" else {}
    with Shop(release.url, told) as shop:
        clock = Impatient(shop, release.canary)
        outcome = release.roll_out(replace(POLICY, on_timeout=on_timeout), clock)
    after = release.platform.status("shop")
    assert outcome.steps[0].canary.requests >= POLICY.min_requests
    assert "click-through under stable's - 0.05, p-value: no data" in outcome.reason
    if on_timeout == "fail":
        assert outcome.outcome == "failed"
        assert (after.canary.name, after.canary.traffic_percent) == (release.canary, 50)
        release.platform.roll_back("shop", reason="the test is over")
    else:
        assert outcome.outcome == "rolled_back"
        assert after.canary is None


def test_reports_nobody_can_believe_are_refused_in_one_line_and_counted(release: Release):
    url, stable = release.url, release.platform.status("shop").stable.name
    good = {"revision": stable, "impressions": 3, "clicks": 1}
    with httpx.Client(base_url=url, trust_env=False) as client:
        before = release.platform.metrics("shop")[stable].feedback
        assert client.post("/v1/feedback", json=good).status_code == 204
        for wrong, status in (
            ({**good, "clicks": 4}, 400),
            ({**good, "revision": "shop-predictor-09999"}, 404),
        ):
            answer = client.post("/v1/feedback", json=wrong)
            assert (answer.status_code, answer.text.count("\n")) == (status, 0), answer.text
            assert "expected" in answer.json()["error"]
        assert client.get("/v1/feedback").status_code == 405
        page = client.get("/metrics").text
        after = release.platform.metrics("shop")[stable].feedback
    assert after.impressions - (before.impressions if before else 0) == 3
    assert after.clicks - (before.clicks if before else 0) == 1
    for reason in ("malformed", "unknown_revision"):
        assert f'shopflow_feedback_refused_total{{model_name="",reason="{reason}"}} ' in page
