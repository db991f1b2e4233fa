import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.platform import InferencePlatform
from serving.platform.local import LocalPlatform

ROOT = Path(__file__).parents[2]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[InferencePlatform]:
    """A local platform of its own, with everything it started ended afterwards."""
    local = LocalPlatform(tmp_path / "state", namespace="test")
    yield local
    for service in local.services():
        local.delete(service)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published package: 20 items, "item19" best without a history."""
    from tests.serving.tiny_package import publish_tiny

    return publish_tiny(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def predictor(package: Path) -> Iterator[httpx.Client]:
    """A client of one running predictor for the package."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--model_name", "shop", "--model_dir", str(package), "--http_port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.predictor", *options, "--revision", "shop-00001"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        deadline = time.monotonic() + 180
        while True:
            try:
                if client.get("/v2/health/ready").status_code == 200:
                    break
            except httpx.ConnectError:
                assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield client
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
