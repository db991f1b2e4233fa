"""A server of ours as a process of its own, as the pod runs it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.ports import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def running_server(module: str, *options: str, **environment: str) -> Iterator[httpx.Client]:
    """Start `python -m module` on a free port, wait until it is ready, and end it by SIGTERM."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options, "--http_port", str(port)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        try:
            deadline = time.monotonic() + 180
            while True:
                try:
                    if client.get("/v2/health/ready").status_code == 200:
                        break
                except httpx.ConnectError:
                    assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
            yield client
        except BaseException:
            process.kill()
            raise
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
