"""Starting the one process behind a local service when it does not run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import serving
from serving.platform.interface import PlatformError
from serving.platform.state import ServiceDirectory

_POLL_S = 0.05
_START_TIMEOUT_S = 30.0


def ensure_supervisor(directory: ServiceDirectory) -> None:
    """Start the service's supervisor, which outlives this process, unless there is one.

    Where the folder has a host (host.py), the host starts it.

    Raises:
        PlatformError: If it does not start; names its log.
    """
    if directory.supervisor_pid() is not None:
        return
    directory.status.unlink(missing_ok=True)
    process = None
    if directory.is_hosted():
        directory.request_supervisor()
    else:
        process = start_supervisor(directory)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not directory.read(directory.status):
        if time.monotonic() > deadline or (process and process.poll() not in (None, 0)):
            raise PlatformError(f"the supervisor does not start, see {_log_of(directory)}")
        time.sleep(_POLL_S)


def start_supervisor(directory: ServiceDirectory) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own; it leaves at once if there is one."""
    root = str(Path(serving.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with _log_of(directory).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "serving.platform.supervisor", str(directory.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )


def _log_of(directory: ServiceDirectory) -> Path:
    return directory.path / "supervisor.log"
