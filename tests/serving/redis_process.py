"""A real Redis on loopback, for the tests that need one."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import redis

from tests.ports import free_port


@dataclass(frozen=True)
class RedisProcess:
    url: str
    client: redis.Redis
    process: subprocess.Popen[bytes]


@contextmanager
def running_redis(password: str = "") -> Iterator[RedisProcess]:
    """Start redis-server with nothing in it and nothing kept; skip where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian package redis-server)")
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    words += ["--requirepass", password] if password else []
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password=password or None)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
        yield RedisProcess(f"redis://127.0.0.1:{port}/0", client, process)
    finally:
        process.kill()
        process.wait(10)
