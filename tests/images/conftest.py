"""The images that `make images` built, the engine that runs them, and a release made in them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.configs import config_parameter
from pipelines.demo import FIRST_WEEK, complete_journey_folder
from pipelines.traffic import TrafficReplay
from pipelines.visits import Visit, held_out_visits
from serving.platform.state import ServiceDirectory
from tests.images.engine import Engine, container_engine

ROOT = Path(__file__).parents[2]
REGISTRY = os.environ.get("REGISTRY", "localhost/shopflow")
TAG = os.environ.get("TAG", "dev")
SERVICE = "shop"
# As strict as a cluster may be: no privileges, and nothing to write to but /tmp.
HARDENED = ("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "all",
            "--security-opt", "no-new-privileges")  # fmt: skip


def image(name: str) -> str:
    """Return the reference of an image by its short name."""
    return f"{REGISTRY}/shopflow-{name}:{TAG}"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """The container engine, with our images in it."""
    with container_engine(tmp_path_factory.mktemp("engine")) as found:
        if found is None:
            pytest.skip("no Docker engine and no Podman")
        found("image", "inspect", image("pipeline"))
        yield found


@dataclass(frozen=True)
class Release:
    """What a run of the compiled pipeline left behind.

    Attributes:
        workspace: Its folder: runs, models, serving.
        output: What the run printed.
        requests: How many live requests were answered, by status code.
    """

    workspace: Path
    output: str
    requests: dict[int, int]

    @property
    def platform(self) -> str:
        """The platform that it serves on."""
        return f"local:{self.workspace / 'serving'}"

    @property
    def package(self) -> Path:
        """The published model."""
        return self.workspace / "models" / SERVICE / "1"


@pytest.fixture(scope="session")
def release(engine, tmp_path_factory) -> Iterator[Release]:
    """Complete Journey's purchases to a served model, each step and the servers in our images."""
    workspace = tmp_path_factory.mktemp("workspace")
    # The images' user is not the one who runs the tests.
    for folder in (workspace, workspace.parent, workspace.parent.parent):
        folder.chmod(0o755)
    for name in ("runs", "models", "serving"):
        (workspace / name).mkdir()
        (workspace / name).chmod(0o777)
    data = complete_journey_folder()
    visits = held_out_visits(data / "transactions.parquet", start=FIRST_WEEK, days=7)
    with hosting(engine, workspace):
        yield run_compiled(engine, workspace, data, visits)


@contextmanager
def hosting(engine: Engine, workspace: Path) -> Iterator[None]:
    """Run the container that the service's processes live in."""
    state = workspace / "serving"
    options = ["--network", "host", "--pid", "host", *HARDENED]
    for folder in (state, workspace / "models"):
        options += ["--volume", f"{folder}:{folder}"]
    command = ["python3", "-m", "serving.platform", "host", "--state-dir", str(state)]
    with engine.running(*options, image("pipeline"), *command) as name:
        deadline = time.monotonic() + 60
        while not ServiceDirectory(state / "default" / SERVICE).is_hosted():
            assert time.monotonic() < deadline, engine("logs", name)
            time.sleep(0.1)
        yield


def run_compiled(engine: Engine, workspace: Path, data: Path, visits: Sequence[Visit]) -> Release:
    """Compile the recommender pipeline and run the YAML beside live traffic."""
    compile_ = [sys.executable, "compile.py", "--pipeline", "recommender"]
    compile_ += ["--registry", REGISTRY, "--tag", TAG, "--out", str(workspace)]
    subprocess.run(compile_, cwd=ROOT, check=True)
    platform = f"local:{workspace / 'serving'}"
    told = {
        "root": str(workspace / "runs"),
        "folders": [str(workspace / "models"), str(workspace / "serving"), str(data)],
        "arguments": {
            "dataset": config_parameter("complete_journey"),
            "events_uri": str(data / "transactions.parquet"),
            "catalogue_uri": str(data / "products.parquet"),
            "as_of": FIRST_WEEK.isoformat(),
            "model_name": "linear_autoencoder",
            "store_uri": str(workspace / "models"),
            "service": SERVICE,
            "platform": platform,
            "rollout_min_requests": 20,
            "rollout_poll_s": 0.5,
        },
    }
    environment = os.environ | ({"DOCKER_HOST": engine.docker_host} if engine.docker_host else {})
    run = [sys.executable, "-m", "tests.images.run_compiled", str(workspace / "recommender.yaml")]
    with TrafficReplay(lambda: visits, platform=platform, service=SERVICE) as traffic:
        done = subprocess.run(
            run,
            input=json.dumps(told), cwd=ROOT, env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    return Release(workspace, done.stdout, dict(traffic.responses))
