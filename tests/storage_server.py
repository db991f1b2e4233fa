"""A Google Cloud Storage server on loopback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from gcp_storage_emulator.server import create_server


@contextmanager
def running_storage(bucket: str) -> Iterator[str]:
    """Run a server with one bucket; yield its URL, which STORAGE_EMULATOR_HOST names meanwhile."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
    server.start()
    host, port = server._api._httpd.server_address  # it does not say which free port it took
    url, before = f"http://{host}:{port}", os.environ.get("STORAGE_EMULATOR_HOST")
    os.environ["STORAGE_EMULATOR_HOST"] = url
    yield url
    server.stop()
    if before is None:
        del os.environ["STORAGE_EMULATOR_HOST"]
    else:
        os.environ["STORAGE_EMULATOR_HOST"] = before
