"""Whole rollouts with real servers and live traffic; nobody presses a button."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from components.deploy.deploy import deploy
from components.deploy.settings import DeploySettings
from components.rollout.outcome import Outcome, RolledBack
from components.rollout.policy import RolloutPolicy
from components.rollout.rollout import roll_out
from serving.platform.__main__ import app
from serving.platform.local import LocalPlatform

ROOT = Path(__file__).parents[2]
STEPS = (20, 50, 100)
# Other tests may make this machine's latencies jump, and requests that are slow together are not
# the independent ones that the test counts on: hence a small risk and a wide tolerance.
POLICY = RolloutPolicy(
    steps=STEPS,
    min_requests=60,
    alpha=1e-4,
    max_p95_ratio=1.5,
    max_p50_ratio=1.5,
    max_p95_ms=10_000,
    poll_s=0.2,
    step_timeout_s=120,
)
NORMAL_MS, SLOW_MS = 30, 150  # five times


class Traffic:
    """Users who never stop asking, and what they got by the revision that answered."""

    def __init__(self, url: str, users: int = 40) -> None:
        self.codes: Counter[tuple[str, int]] = Counter()
        self._url, self._users, self._stop = url, users, threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(n,)) for n in range(4)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, number: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                number = (number + 4) % self._users
                body = {
                    "signature_name": "recommend",
                    "instances": [{"user": f"user{number}", "history": ["item1"], "k": 3}],
                }
                answer = client.post(f"{self._url}/v1/models/shop:predict", json=body)
                revision = answer.headers.get("X-Shopflow-Revision", "")
                self.codes[revision, answer.status_code] += 1


class Shop:
    """A service on a platform of its own, and the folder its steps write to."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.folder, self.package = folder, package
        self.platform = LocalPlatform(folder / "state", namespace="test")

    def deploy(self, *, delay_ms: int, fail_every: int = 0) -> None:
        options = {
            "--model_name": "$(MODEL_NAME)",
            "--model_dir": "$(MODEL_DIR)",
            "--http_port": "$(PORT)",
            "--host": "127.0.0.1",
            "--revision": "$(REVISION)",
            "--delay_ms": str(delay_ms),
            "--fail_every": str(fail_every),
        }
        server = str(ROOT / "tests" / "serving" / "faulty_server.py")
        words = [word for pair in options.items() for word in pair]
        deploy(
            package_uri=str(self.package),
            service="shop",
            platform=f"local:{self.folder}/state",
            namespace="test",
            settings=DeploySettings(server_command=(sys.executable, server, *words)),
            release_path=self.folder / "release.json",
        )

    def roll_out(self) -> Outcome:
        return roll_out(
            release_path=self.folder / "release.json",
            policy=POLICY,
            outcome_path=self.folder / "outcome.json",
            report_path=self.folder / "report.html",
        )

    @property
    def evidence(self) -> dict:
        return json.loads((self.folder / "outcome.json").read_text())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A service with a promoted first release that answers in about 30 ms."""
    from tests.serving.tiny_package import publish_tiny

    folder = tmp_path_factory.mktemp("live")
    found = Shop(folder, publish_tiny(folder / "store"))
    try:
        found.deploy(delay_ms=NORMAL_MS)
        with Traffic(found.platform.status("shop").url):
            outcome = found.roll_out()
        assert (outcome.outcome, len(outcome.steps)) == ("promoted", 1)
        yield found
    finally:
        found.platform.delete("shop")


def test_revision_with_20_percent_errors_is_rolled_back_and_stables_users_are_unharmed(shop: Shop):
    shop.deploy(delay_ms=NORMAL_MS, fail_every=5)
    status = shop.platform.status("shop")
    with Traffic(status.url) as traffic:
        outcome = shop.roll_out()
    assert outcome.outcome == "rolled_back"
    assert "error rate" in outcome.reason
    with pytest.raises(RolledBack, match="error rate"):
        outcome.raise_if_rolled_back()
    after = shop.platform.status("shop")
    assert (after.canary, after.stable.name) == (None, status.stable.name)
    assert traffic.codes[status.canary.name, 500] > 0
    assert {code for name, code in traffic.codes if name == status.stable.name} == {200}
    record = shop.evidence["steps"][0]
    assert (record["traffic_percent"], record["action"]) == (20, "roll_back")
    # Five errors are the fewest that are tested, and each one in the evidence was some user's.
    assert 5 <= record["canary"]["errors"] <= traffic.codes[status.canary.name, 500]
    assert record["stable"]["errors"] == 0
    assert "Rolled back" in (shop.folder / "report.html").read_text()


def test_revision_five_times_slower_is_rolled_back_and_stables_users_are_unharmed(shop: Shop):
    shop.deploy(delay_ms=SLOW_MS)
    status = shop.platform.status("shop")
    with Traffic(status.url) as traffic:
        outcome = shop.roll_out()
    assert outcome.outcome == "rolled_back"
    assert "latency over 1.5 × stable's" in outcome.reason
    assert shop.platform.status("shop").canary is None
    assert {code for _, code in traffic.codes} == {200}
    record = shop.evidence["steps"][-1]
    assert record["canary"]["p50_ms"] > 1.5 * record["stable"]["p50_ms"]
    # Asked again after it has ended, the rollout says the same and changes nothing.
    assert shop.roll_out().reason == outcome.reason


def test_killed_rollout_goes_on_where_it_was_and_a_good_candidate_is_promoted(shop: Shop):
    shop.deploy(delay_ms=NORMAL_MS - 1)
    status = shop.platform.status("shop")
    with Traffic(status.url) as traffic:
        process = patient_rollout(shop)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (shop.folder / "patient.json").exists()
        shop.platform.set_traffic("shop", STEPS[1])  # as if it had been killed one step later
        outcome = shop.roll_out()
    assert outcome.outcome == "promoted"
    assert [step.traffic_percent for step in outcome.steps] == [50, 100]
    after = shop.platform.status("shop")
    assert (after.stable.name, after.canary) == (status.canary.name, None)
    assert {code for _, code in traffic.codes} == {200}
    assert shop.roll_out().reason == "it is stable already"


def test_aborted_rollout_ends_with_the_reason_and_does_not_undo_it(shop: Shop):
    shop.deploy(delay_ms=NORMAL_MS - 2)
    stable = shop.platform.status("shop").stable.name
    process = patient_rollout(shop)
    abort = ["abort", "shop", "--platform", f"local:{shop.folder}/state", "--namespace", "test"]
    done = CliRunner().invoke(app, [*abort, "--reason", "wrong prices"])
    assert done.exit_code == 0, done.output
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "wrong prices" in told.splitlines()[-1] and "Traceback" not in told
    evidence = json.loads((shop.folder / "patient.json").read_text())
    assert (evidence["outcome"], evidence["reason"]) == ("rolled_back", "wrong prices")
    status = shop.platform.status("shop")
    assert (status.canary, status.stable.name) == (None, stable)
    assert status.stable.traffic_percent == 100
    (*_, event) = shop.platform.releases("shop").releases[-1].events
    assert (event.what, event.why) == ("rolled_back", "wrong prices")


def patient_rollout(shop: Shop) -> subprocess.Popen[str]:
    """A rollout in a process of its own that has reached its first step and will not leave it."""
    options = ["--release", "release.json", "--evidence", "patient.json", "--report", "page.html"]
    patient = ["--steps", "20,50,100", "--min-requests", "1000000", "--poll-s", "0.2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "components.rollout", *options, *patient],
        cwd=shop.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while shop.platform.status("shop").canary.traffic_percent != STEPS[0]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process
