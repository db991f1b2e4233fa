"""The candidate on servers of its own: real servers, real signals, and what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.deploy.deploy import deploy
from components.deploy.inference_service import build_inference_service
from components.deploy.infrastructure_check import on_its_own
from components.deploy.settings import DeploySettings
from components.errors import InputError
from components.release import Release
from serving.platform import PlatformError, ServiceStatus, TemporaryService, temporary_name
from serving.platform.__main__ import app
from serving.platform.local import LocalPlatform
from serving.platform.temporary import deleted_afterwards
from tests.serving.stub_service import stub_service

ROOT = Path(__file__).parents[2]
STUB = str(ROOT / "tests" / "serving" / "stub_server.py")


def command(folder: Path, *options: str) -> tuple[str, ...]:
    """A stub server that first writes the name of its model into `started`."""
    note = f'echo "$MODEL_NAME" >> {folder}/started; exec "$0" "$@"'
    return ("sh", "-c", note, sys.executable, STUB, *options)


def run(package: Path, folder: Path, *options: str, **settings) -> Release:
    """Deploy a package behind the stub server."""
    return deploy(
        package_uri=str(package),
        service="shop",
        platform=f"local:{folder}/state",
        namespace="test",
        settings=DeploySettings(server_command=command(folder, *options), **settings),
        release_path=folder / "release.json",
    )


@pytest.fixture
def stable(platform: LocalPlatform) -> ServiceStatus:
    """A service with users."""
    platform.deploy(stub_service(LABEL="one"))
    platform.set_traffic("shop", 100)
    return platform.promote("shop")


def started(folder: Path) -> list[str]:
    """The models whose servers were started, in order."""
    file = folder / "started"
    return file.read_text().split() if file.exists() else []


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder with what is in them."""
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def processes(folder: Path) -> dict[int, str]:
    """The processes that have to do with a folder, by their command line or environment."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = [(process / name).read_bytes() for name in ("cmdline", "environ")]
        except OSError:
            continue  # it has ended
        if str(folder).encode() in b"".join(words) and int(process.name) != os.getpid():
            found[int(process.name)] = words[0].replace(b"\0", b" ").decode()
    return found


def wait_until(satisfied, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not satisfied():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_candidate_is_tried_as_a_service_of_its_own_before_it_becomes_the_canary(
    published: Path, platform: LocalPlatform, tmp_path: Path
):
    first = run(published, tmp_path)
    alone, served = started(tmp_path)
    assert (alone[:5], served) == ("shop-", "shop")
    assert platform.services() == ["shop"]
    wait_until(lambda: not any(alone in line for line in processes(tmp_path).values()))
    platform.set_traffic("shop", 100)
    platform.promote("shop")
    assert run(published, tmp_path).stable_revision == first.candidate_revision
    assert started(tmp_path) == [alone, served]  # stable already: nothing to try
    run(published, tmp_path, "--other-option", infrastructure_check=False)
    assert started(tmp_path) == [alone, served, "shop"]


@pytest.mark.parametrize(
    ("fault", "settings", "problem"),
    [
        ("--null-scores", {}, r"golden request 0: found scores \[None\]"),
        ("--other-items", {}, "golden request 0: found 'item18' at place 1, expected 'item4'"),
        ("--none", {"latency_budget_ms": 1e-6}, "found a median latency of"),
        ("--none", {"env": {"REFUSE": "no GPU"}}, "cannot start: .*no GPU"),
    ],
)
def test_candidate_that_fails_leaves_the_service_as_it_was_and_nothing_behind(
    published: Path, platform: LocalPlatform, stable, tmp_path: Path, fault, settings, problem
):
    files, running = everything(tmp_path / "state"), processes(tmp_path)
    with pytest.raises(InputError, match=f"failed its infrastructure check: .*{problem}") as error:
        run(published, tmp_path, fault, **settings)
    assert "\n" not in str(error.value) and "the service was not touched" in str(error.value)
    assert everything(tmp_path / "state") == files
    wait_until(lambda: processes(tmp_path) == running)
    assert "shop" not in started(tmp_path)
    assert not (tmp_path / "release.json").exists()


@pytest.fixture
def deploying(published: Path, platform: LocalPlatform, stable, tmp_path: Path):
    """The deploy step as a process, in the middle of its infrastructure check."""
    serving = {"server_command": command(tmp_path), "env": {"DELAY_S": "600"}}
    options = {
        "--package-uri": published,
        "--service": "shop",
        "--platform": f"local:{tmp_path}/state",
        "--namespace": "test",
        "--serving": json.dumps(serving),
        "--release": tmp_path / "release.json",
        "--run-id": "run-7",
    }
    words = [str(word) for pair in options.items() for word in pair]
    step = subprocess.Popen([sys.executable, "-m", "components.deploy", *words], cwd=ROOT)

    def is_ready() -> bool:
        assert step.poll() is None
        names = set(platform.services()) - {"shop"}
        return any((canary := platform.status(n).canary) and canary.ready for n in names)

    wait_until(is_ready)
    yield step
    step.kill()
    step.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_step_that_is_ended_in_the_middle_leaves_nothing(
    deploying, stable, platform: LocalPlatform, tmp_path: Path, number
):
    (alone,) = set(platform.services()) - {"shop"}
    deploying.send_signal(number)
    code = deploying.wait(60)
    if number == signal.SIGTERM:
        assert code == 128 + signal.SIGTERM
        assert platform.services() == ["shop"]  # deleted by itself, before it ended
    wait_until(lambda: not any(alone in line for line in processes(tmp_path).values()))
    wait_until(lambda: [path.name for path in (tmp_path / "state/test").iterdir()] == ["shop"])
    assert started(tmp_path) == [alone]
    assert platform.status("shop") == stable


def test_what_two_killed_processes_left_is_swept_and_what_is_in_use_is_not(
    deploying, platform: LocalPlatform, tmp_path: Path
):
    (alone,) = set(platform.services()) - {"shop"}
    assert platform.clean_up("shop") == (TemporaryService(alone, ""),)
    resource = json.loads((tmp_path / f"state/test/{alone}/inference_service.json").read_text())
    assert resource["metadata"]["labels"] == {"shopflow/run": "run-7"}
    supervisor = json.loads((tmp_path / f"state/test/{alone}/status.json").read_text())
    os.kill(deploying.pid, signal.SIGSTOP)  # so that neither outlives the other
    os.kill(supervisor["supervisor_pid"], signal.SIGKILL)
    deploying.kill()
    deploying.wait()
    left = tmp_path / "state" / "test" / alone
    assert left.exists()
    options = ["shop", "--platform", f"local:{tmp_path}/state", "--namespace", "test"]
    cleaned = CliRunner().invoke(app, ["clean-up", *options])
    assert cleaned.output == f"{alone}: deleted, its process is gone\n"
    assert not left.exists()
    again = CliRunner().invoke(app, ["clean-up", *options])
    assert again.output == "shop: found no temporary services\n"


def test_next_deployment_sweeps_what_was_left(
    deploying, published: Path, platform: LocalPlatform, tmp_path: Path
):
    (alone,) = set(platform.services()) - {"shop"}
    supervisor = json.loads((tmp_path / f"state/test/{alone}/status.json").read_text())
    os.kill(deploying.pid, signal.SIGSTOP)
    os.kill(supervisor["supervisor_pid"], signal.SIGKILL)
    deploying.kill()
    deploying.wait()
    assert run(published, tmp_path).stable_revision
    assert platform.services() == ["shop"]


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("shop", "shop-1a2b3c"),
        ("recommender", "reco-1a2b3c"),
        ("a-" * 20 + "z", "a-" * 16 + "a-1a2b3c"),  # 41 letters, as before
        ("sho", "sho-1a2b3c"),
        ("abc-----------", "abc-1a2b3c"),
    ],
)
def test_temporary_name_is_legal_and_no_longer_than_need_be(service: str, name: str):
    assert temporary_name(service, mark="1a2b3c") == name
    assert len(name) <= max(len(service), len("shop-1a2b3c"))


def test_error_names_the_service_that_could_not_be_deleted_after_what_went_wrong():
    def stuck() -> None:
        raise PlatformError("shop-1a2b3c: found it after 120 s")

    left = "temporary service shop-1a2b3c is left behind: shop-1a2b3c: found it after 120 s"
    with pytest.raises(PlatformError, match=f"^{left}$"):
        with deleted_afterwards("shop-1a2b3c", stuck):
            pass
    with pytest.raises(PlatformError, match=f"^too slow; and {left}$"):
        with deleted_afterwards("shop-1a2b3c", stuck):
            raise PlatformError("too slow")


def test_deletion_that_is_interrupted_is_done_again():
    deleted = []

    def delete() -> None:
        deleted.append(len(deleted))
        if len(deleted) == 1:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        with deleted_afterwards("shop-1a2b3c", delete):
            pass
    assert deleted == [0, 1]


def test_candidate_on_its_own_is_served_alike_but_once_and_unseen():
    alike = {"cpu": "2", "gpus": 1, "image": "r.io/p:1", "service_account": "models"}
    alike |= {"concurrency": 4, "secret_env": {"A": "secret/key"}, "pull_secrets": ("registry",)}
    alike |= {"transformer_image": "r.io/t:1"}
    scaled = {"min_replicas": 3, "max_replicas": 9, "autoscaler": "hpa", "scale_metric": "cpu"}
    scaled |= {"scale_target": 70, "logger_url": "http://events.example", "scraped": True}
    alone = on_its_own(DeploySettings(**alike, **scaled))
    assert alone == DeploySettings(**alike, min_replicas=1, max_replicas=1)
    keda = {"keda_query": "up", "keda_server": "http://p:9090", "keda_threshold": "1"}
    assert on_its_own(DeploySettings(autoscaler="keda", **keda)).autoscaler == ""
    resource = build_inference_service(
        service="shop-1a2b3c", namespace="ml", package_uri="gs://m/1", settings=alone
    )
    (container,) = resource["spec"]["predictor"]["containers"]
    assert "--model_name=shop-1a2b3c" in container["args"]
