"""A host keeps the services of a folder running for clients whose processes do not last."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.platform import connect
from serving.platform.host import Host
from serving.platform.state import ServiceDirectory
from tests.serving.stub_service import stub_service

ROOT = Path(__file__).parents[2]


@contextmanager
def hosting(state_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.platform", "host", "--state-dir", str(state_dir)], cwd=ROOT
    )
    try:
        wait_for(ServiceDirectory(state_dir / "default" / "any").is_hosted)
        yield process
    finally:
        process.terminate()
        assert process.wait(60) == 0


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def parent_of(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def platform(tmp_path):
    platform = connect(f"local:{tmp_path}")
    yield platform
    platform.delete("shop")


def is_ready(platform) -> bool:
    canary = platform.status("shop").canary
    return canary is not None and canary.ready


def test_the_host_is_the_parent_of_every_supervisor_and_stops_them_all(platform, tmp_path):
    directory = ServiceDirectory(tmp_path / "default" / "shop")
    with hosting(tmp_path) as host:
        platform.deploy(stub_service(LABEL="one"))
        first = directory.supervisor_pid()
        assert parent_of(first) == host.pid
        # Stopped on purpose it stays stopped, until somebody starts it.
        platform.stop("shop")
        assert platform.start("shop").canary.ready
        second = directory.supervisor_pid()
        assert second != first and parent_of(second) == host.pid
        # One that was killed is started again by the host alone.
        os.kill(second, signal.SIGKILL)
        wait_for(lambda: directory.supervisor_pid() not in (None, second) and is_ready(platform))
    assert directory.supervisor_pid() is None
    with hosting(tmp_path):  # a machine that was started again
        wait_for(lambda: is_ready(platform))


def test_a_folder_has_one_host(tmp_path):
    with hosting(tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "serving.platform", "host", "--state-dir", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert second.returncode and f"{tmp_path}: has a host already" in second.stderr


def test_a_service_that_is_deleted_while_its_supervisor_fails_does_not_end_the_host(tmp_path):
    folder, host = ServiceDirectory(tmp_path / "default" / "shop"), Host(tmp_path)
    folder.write(folder.resource, {})
    (folder.path / "supervisor.lock").mkdir()  # so that its supervisor cannot start
    folder.request_supervisor()
    host.tick()
    (failing,) = host._running.values()
    assert failing.wait(60)
    shutil.rmtree(folder.path)
    host.tick()
    assert host._running == {}
