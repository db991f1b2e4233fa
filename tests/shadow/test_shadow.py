"""Candidates in shadow, with real server processes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.deploy.deploy import deploy
from components.deploy.settings import DeploySettings
from components.errors import InputError
from components.shadow.settings import ShadowSettings
from components.shadow.shadow import shadow
from serving.platform.local import LocalPlatform

FAULTY = str(Path(__file__).parents[1] / "serving" / "faulty_server.py")
OPTIONS = "--model_name $(MODEL_NAME) --model_dir $(MODEL_DIR) --http_port $(PORT) --host 127.0.0.1"


class Trial:
    """A service with a stable revision, on a platform of its own."""

    def __init__(self, folder: Path) -> None:
        from tests.serving.tiny_package import publish_tiny

        self.folder = folder
        self.platform = LocalPlatform(folder / "state", namespace="test")
        self.packages = {items: publish_tiny(folder / str(items), items=items) for items in (20, 8)}
        self.log = folder / "requests.jsonl"
        instances = [{"user": f"u{n}", "history": [f"item{n % 8}"], "k": 4} for n in range(30)]
        bodies = [{"signature_name": "recommend", "instances": [each]} for each in instances]
        self.log.write_text("".join(json.dumps(body) + "\n" for body in bodies))

    def deploy(self, *, items: int, fail_every: int = 0) -> None:
        faults = ["--revision", "$(REVISION)", "--fail_every", str(fail_every)]
        command = (sys.executable, FAULTY, *OPTIONS.split(), *faults)
        deploy(
            package_uri=str(self.packages[items]),
            service="shop",
            platform=f"local:{self.folder}/state",
            namespace="test",
            settings=DeploySettings(server_command=command),
            release_path=self.folder / "release.json",
        )

    def shadow(self, **settings: object) -> dict:
        asked = {
            "requests_uri": str(self.log),
            "requests": 100,
            "latency_floor_ms": 10_000,
        } | settings
        try:
            shadow(
                release_path=self.folder / "release.json",
                events_dir=self.folder / "nowhere",
                settings=ShadowSettings(**asked | settings),
                result_path=self.folder / "comparison.json",
                report_path=self.folder / "shadow.html",
            )
        finally:
            self.result = json.loads((self.folder / "comparison.json").read_text())
        return self.result


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    found = Trial(tmp_path_factory.mktemp("shadow"))
    try:
        found.deploy(items=20)
        # On a first release there is nobody to compare with.
        assert found.shadow()["stable"] is None
        found.platform.set_traffic("shop", 100)
        found.platform.promote("shop")
        yield found
    finally:
        found.platform.delete("shop")


def test_the_lists_of_both_models_are_compared_and_no_user_is_counted(trial: Trial):
    trial.deploy(items=8)
    before = trial.platform.metrics("shop")
    result = trial.shadow()
    assert (result["candidate"]["requests"], result["candidate"]["failed"]) == (30, 0)
    assert result["stable"]["failed"] == 0
    # k is 4. Of 20 items the best are the follower and 19, 18, 17; of 8 the follower and the best
    # three others of 0 to 7. The follower of item7 is item8 there, and item0 here; every other
    # history has the same follower in both, and nothing else.
    shares = sorted(set(result["overlap"]))
    assert shares == [0.0, 0.25]
    assert trial.platform.metrics("shop") == before
    page = (trial.folder / "shadow.html").read_text()
    assert "nothing in the replay speaks against it" in page.lower()


def test_a_candidate_that_fails_is_rolled_back_with_the_figures_written(trial: Trial):
    # The smoke test was the first request; of the 30 that follow the 4th, 8th … 28th of all fail.
    trial.deploy(items=8, fail_every=4)
    with pytest.raises(InputError, match=r"found 7 of 30 shadow requests failed"):
        trial.shadow()
    assert trial.result["candidate"]["failed"] == 7
    status = trial.platform.status("shop")
    assert status.canary is None
    assert "shadow requests failed" in status.last_rollback.reason


def test_what_recommends_something_else_is_refused_when_agreement_is_asked_for(trial: Trial):
    trial.deploy(items=8)
    with pytest.raises(InputError, match="found a mean overlap of 0.2"):
        trial.shadow(min_overlap=0.5)
    assert trial.platform.status("shop").canary is None


def test_nothing_is_replayed_for_what_is_stable_already_or_when_nothing_is_asked(trial: Trial):
    trial.deploy(items=8)
    assert trial.shadow(requests=0) == {"skipped": "0 requests asked"}
    trial.deploy(items=20)
    assert trial.shadow() == {"skipped": "it is stable already"}


def test_a_log_that_is_none_is_one_line_with_its_number(trial: Trial, tmp_path: Path):
    trial.deploy(items=8)
    broken = tmp_path / "log.jsonl"
    for text, problem in (
        ('{"instances": []}\n{"instances"\n', "log.jsonl, line 2: found"),
        ('{"inputs": []}\n', "line 1: found"),
        ("\n", "found no requests"),
    ):
        broken.write_text(text)
        with pytest.raises(InputError, match=problem) as refusal:
            trial.shadow(requests_uri=str(broken))
        assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="no such file|No such file"):
        trial.shadow(requests_uri=str(tmp_path / "missing.jsonl"))
