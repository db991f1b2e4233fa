"""The process that keeps a folder's local services running: `python -m serving.platform host`.

Without it, whoever deploys starts a service's supervisor, which outlives him. A step in a container
cannot: its processes end with it. There a host runs in a container of its own, on the same folder,
and starts the supervisors for everybody.
"""

import fcntl
import logging
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from serving.platform.interface import PlatformError
from serving.platform.state import HOST_LOCK, ServiceDirectory
from serving.platform.supervision import start_supervisor

_TICK_S = 0.05
_RETRY_S = 2.0
_log = logging.getLogger("shopflow.host")


class Host:
    """Starts the supervisors that clients ask for, and those that ended without being told to."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir
        self._running: dict[Path, subprocess.Popen[bytes]] = {}
        self._not_before: dict[Path, float] = {}

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then stop every service; their state stays.

        Raises:
            PlatformError: If the folder has a host already.
        """
        ending = False

        def end(*_: int | FrameType | None) -> None:
            nonlocal ending
            ending = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        with _charge_of(self._root):
            for resource in self._root.glob("*/*/inference_service.json"):
                ServiceDirectory(resource.parent).request_supervisor()
            _log.info("hosting the services below %s", self._root)
            while not ending:
                self.tick()
                time.sleep(_TICK_S)
            for process in self._running.values():
                process.terminate()
            for process in self._running.values():
                process.wait()

    def tick(self) -> None:
        """Start what is asked for; ask again for what ended by itself."""
        for path, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[path]
                if process.returncode:
                    _log.warning("%s: its supervisor ended with %d", path, process.returncode)
                    self._not_before[path] = time.monotonic() + _RETRY_S
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        ServiceDirectory(path).request_supervisor()
        for request in self._root.glob(f"*/*/{ServiceDirectory.REQUEST}"):
            path = request.parent
            if path not in self._running and time.monotonic() >= self._not_before.get(path, 0):
                request.unlink(missing_ok=True)
                with suppress(FileNotFoundError):  # likewise
                    self._running[path] = start_supervisor(ServiceDirectory(path))
                    _log.info("%s: started", path)


@contextmanager
def _charge_of(state_dir: Path) -> Iterator[None]:
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / HOST_LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlatformError(f"{state_dir}: has a host already, expected none") from error
        yield
