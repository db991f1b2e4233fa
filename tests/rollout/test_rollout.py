"""The loop that obeys `decide`, on a scripted platform and a clock of its own."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from components.errors import InputError
from components.rollout.outcome import Outcome, RolledBack, Undecided
from components.rollout.policy import OnTimeout, RolloutPolicy
from components.rollout.rollout import roll_out
from serving.platform import PlatformError, RevisionMetrics, ServiceStatus
from serving.platform.interface import Revision

POLICY = RolloutPolicy(steps=(50, 100), min_requests=100, step_timeout_s=60.0, poll_s=10.0)


@dataclass
class Clock:
    now: float = 0.0

    def now_s(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class ScriptedPlatform:
    """Answers a fixed number of requests between two readings of its metrics, all within 10 ms."""

    per_look: int
    late: int = 0  # requests of the stable under way when the last of its users leave
    percent: int = 0
    done: list[str] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=lambda: {"old": 1000, "new": 0})

    def status(self, service: str) -> ServiceStatus:
        stable = Revision("old", "", 100 - self.percent, ready=True)
        canary = Revision("new", "", self.percent, ready=True)
        return ServiceStatus(service, "http://nowhere", stable, canary)

    def set_traffic(self, service: str, percent: int) -> ServiceStatus:
        self.percent = percent
        self.done.append(f"{percent} %")
        return self.status(service)

    def metrics(self, service: str) -> dict[str, RevisionMetrics]:
        if self.percent:
            self.served["new"] += self.per_look * self.percent // 100
            self.served["old"] += self.per_look * (100 - self.percent) // 100
        answers = {
            name: RevisionMetrics({200: count}, {10.0: count, math.inf: count})
            for name, count in self.served.items()
        }
        if self.percent == 100:
            self.served["old"] += self.late  # seen at the next reading
            self.late = 0
        return answers

    def promote(self, service: str, *, reason: str) -> ServiceStatus:
        self.done.append("promote")
        return self.status(service)

    def roll_back(self, service: str, *, reason: str) -> ServiceStatus:
        self.done.append("roll back")
        return self.status(service)


class ReplacedPlatform(ScriptedPlatform):
    """Somebody deploys another candidate once this one has its first users."""

    def status(self, service: str) -> ServiceStatus:
        found = super().status(service)
        newer = replace(found.canary, name="newer")
        return replace(found, canary=newer) if self.percent else found


@dataclass
class LatePlatform(ScriptedPlatform):
    """Its metrics cannot be read at first."""

    refusals: int = 2

    def metrics(self, service: str) -> dict[str, RevisionMetrics]:
        found = super().metrics(service)
        self.refusals -= 1
        if self.refusals >= 0:
            raise PlatformError("shop: no data")
        return found


def run(platform: ScriptedPlatform, folder: Path, policy: RolloutPolicy = POLICY) -> Outcome:
    release = folder / "release.json"
    release.write_text(
        json.dumps(
            {
                "service": "shop",
                "platform": "local:nowhere",
                "namespace": "test",
                "candidate_revision": "new",
                "package_uri": "models/2",
                "version": 2,
            }
        )
    )
    return roll_out(
        release_path=release,
        policy=policy,
        outcome_path=folder / "outcome.json",
        report_path=folder / "report.html",
        platform=platform,
        clock=Clock(),
    )


def test_good_candidate_goes_through_the_steps(tmp_path: Path):
    platform = ScriptedPlatform(per_look=100)
    outcome = run(platform, tmp_path)
    assert platform.done == ["50 %", "100 %", "promote"]
    # Two looks at 50 requests each, one at 100.
    assert [(one.canary.requests, one.stable.requests) for one in outcome.steps] == [
        (100, 100),
        (100, 0),
    ]
    assert [check["verdict"] for check in evidence(tmp_path)["steps"][0]["checks"]] == [
        "passed"
    ] * 3


def test_stables_last_answers_do_not_hold_the_last_step(tmp_path: Path):
    platform = ScriptedPlatform(per_look=100, late=3)
    outcome = run(platform, tmp_path)
    assert outcome.outcome == "promoted"
    assert outcome.steps[-1].stable.requests == 3


def test_what_was_counted_before_the_metrics_could_be_read_is_no_evidence_of_the_step(tmp_path):
    # Taken up at 50 % with 5,000 requests of the canary behind it; it may be read from the third
    # look on, and has answered 100 since then after two more.
    platform = LatePlatform(per_look=100, percent=50, served={"old": 9000, "new": 5000})
    outcome = run(platform, tmp_path)
    assert [(one.canary.requests, one.stable.requests) for one in outcome.steps] == [
        (100, 100),
        (100, 0),
    ]


def test_without_traffic_it_is_rolled_back_and_told_why(tmp_path: Path):
    platform = ScriptedPlatform(per_look=0)
    outcome = run(platform, tmp_path)
    assert platform.done == ["50 %", "roll back"]
    assert outcome.steps[0].elapsed_s == 60.0
    expected = "only 0 requests of the canary and 0 of the stable, expected 100; after 60 s by the"
    assert outcome.reason.startswith(expected)
    with pytest.raises(RolledBack, match="only 0 requests"):
        outcome.raise_if_rolled_back()


def test_policy_may_ask_for_a_person_instead(tmp_path: Path):
    platform = ScriptedPlatform(per_look=0)
    outcome = run(platform, tmp_path, replace(POLICY, on_timeout="fail"))
    assert platform.done == ["50 %"]
    assert outcome.outcome == evidence(tmp_path)["outcome"] == "failed"
    outcome.raise_if_rolled_back()
    with pytest.raises(Undecided, match="only 0 requests"):
        outcome.raise_if_undecided()
    assert "Still on trial" in (tmp_path / "report.html").read_text()


def test_candidate_that_somebody_else_replaced_is_not_rolled_out_on(tmp_path: Path):
    platform = ReplacedPlatform(per_look=0)
    with pytest.raises(InputError, match="shop: found canary newer, expected new of the release"):
        run(platform, tmp_path)
    assert platform.done == ["50 %"]


@pytest.mark.parametrize(("on_timeout", "promoted"), [("hold", True), ("roll_back", False)])
def test_policy_may_wait_on(tmp_path: Path, on_timeout: OnTimeout, promoted: bool):
    # 10 requests of each at a look: 100 after 100 s, 40 s after the timeout.
    platform = ScriptedPlatform(per_look=20)
    outcome = run(platform, tmp_path, replace(POLICY, on_timeout=on_timeout))
    assert (outcome.outcome == "promoted") == promoted
    assert outcome.steps[0].elapsed_s == (100.0 if promoted else 60.0)


def evidence(folder: Path) -> dict:
    return json.loads((folder / "outcome.json").read_text())
