"""The exit handler around a real run: real processes, a real receiver, real temporary services."""

import io
import json

import pytest
from rich.console import Console

from pipelines.local import run_locally
from serving.platform.local import LocalPlatform
from tests.notify.receiver import SECRET
from tests.serving.stub_service import stub_service

SMALL = ("tests.notify.small_pipelines", "small")


@pytest.fixture
def platform(tmp_path):
    """The platform the run releases to."""
    return LocalPlatform(tmp_path / "serving", namespace="test")


@pytest.fixture
def run(tmp_path, receiver, monkeypatch):
    """Run the little pipeline; the receiver's address comes as a secret does."""
    monkeypatch.setenv("SHOPFLOW_NOTIFY_URL", receiver.url)

    def ended(how: str, **others):
        arguments = {"how": how, "platform": f"local:{tmp_path}/serving"} | others
        console = Console(file=io.StringIO())
        done = run_locally(SMALL, arguments, workspace=tmp_path, console=console)
        logs = [log.read_text() for log in tmp_path.glob("runs/*/run.log")]
        assert not any(SECRET in log for log in logs)
        return done, json.loads(done.artifact("notice").read_text())

    return ended


def test_a_good_run_is_told_of_and_stays_good_when_nobody_listens(run, receiver):
    done, notice = run("well", notify_link="https://kubeflow.example/runs/{run_id}")
    assert done.failed_step is None
    (body,) = receiver.bodies
    assert notice.pop("delivery") == "told at attempt 1" and notice == body
    assert (body["schema"], body["pipeline"]) == ("shopflow.run-ended/v1", "small")
    assert (body["state"], body["failed_step"], body["reason"]) == ("SUCCEEDED", "", "")
    assert body["links"] == {"run": f"https://kubeflow.example/runs/{body['run_id']}"}
    assert body["run_id"].isdigit()
    assert body["text"].startswith("✅ small for test/shop succeeded\n")

    receiver.answers = [404]
    done, notice = run("well")
    assert done.failed_step is None
    assert notice["delivery"].startswith("webhook: found HTTP 404 after 1 attempts")

    done, notice = run("well", notify_successes=False)
    assert (notice["delivery"], len(receiver.bodies)) == ("nobody is to be told", 2)


def test_a_failed_run_is_told_with_its_step_and_its_line(run, receiver):
    receiver.answers = [404]
    done, notice = run("wrong")
    (body,) = receiver.bodies
    reason = "how: found '<!channel>' & (e-mail address), expected well"
    assert (body["state"], body["failed_step"], body["reason"]) == ("FAILED", "work", reason)
    assert body["problems"] == [] and body["rollout"] is None
    # Slack would call everybody otherwise.
    assert "'&lt;!channel&gt;' &amp; (" in body["text"] and "<!" not in body["text"]
    # Nobody was told, so the exit handler fails as well; what failed the run is still `work`.
    assert (done.failed_step, "notify" in done.seconds) == ("work", True)
    assert "jo@shop.example" in done.reason
    assert "HTTP 404" in notice["delivery"]


def test_what_a_killed_step_left_is_deleted_and_what_another_run_uses_is_not(
    run, receiver, platform
):
    others = stub_service("shop-4d5e6f")
    with platform.temporary_service(others, instead_of=stub_service()) as status:
        done, notice = run("killed")
        assert platform.services() == ["shop-4d5e6f"]
        assert (
            platform.predict(
                "shop-4d5e6f", {"instances": [{}]}, revision=status.canary.name
            ).status_code
            == 200
        )
    (body,) = receiver.bodies
    assert (body["state"], body["failed_step"]) == ("FAILED", "work")
    assert body["reason"] == "it was ended before it could say why, as by SIGKILL"
    assert body["deleted"] == ["shop-1a2b3c"]
    assert done.failed_step == "work"
