"""The folder a local service lives in: its resource, its status, and who is in charge of it."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.platform.interface import PlatformError

OWNER_LOCK = "owner.lock"
HOST_LOCK = "host.lock"


class ServiceDirectory:
    """Files of one local service; every file is replaced as a whole, never half written.

    Attributes:
        path: The folder.
        resource: The InferenceService, written by clients.
        revisions: The revisions made of it, written by the supervisor.
        releases: What was released, how it ended, and why; written by clients.
        status: What is running and ready, written by the supervisor.
        port: Port of the router, kept so that the URL outlives a restart.
    """

    REQUEST = "supervisor.request"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.resource = path / "inference_service.json"
        self.revisions = path / "revisions.json"
        self.releases = path / "releases.json"
        self.status = path / "status.json"
        self.port = path / "port.json"
        self._owner_lock = path / OWNER_LOCK
        self._client_lock = path / "client.lock"
        self._supervisor_lock = path / "supervisor.lock"

    def read(self, file: Path) -> dict[str, Any]:
        """Return a file's JSON object, empty when there is no such file."""
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def write(self, file: Path, content: Mapping[str, Any]) -> None:
        """Replace a file by a JSON object."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        part.replace(file)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep other clients from changing the resource meanwhile."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._client_lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def owned(self, of: str) -> Iterator[None]:
        """Make this a temporary service, which lives no longer than this process.

        Args:
            of: The service whose candidate it runs.

        Raises:
            PlatformError: If there is such a service already.
        """
        try:
            self.path.mkdir(parents=True)
        except FileExistsError as error:
            raise PlatformError(
                f"{self.path.name}: found a service of this name, expected none"
            ) from error
        part = self._owner_lock.with_suffix(".part")
        with part.open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(of)
            lock.flush()
            part.replace(self._owner_lock)  # so that nobody ever finds it without its owner
            yield

    def temporary_of(self) -> str:
        """Return the service whose candidate this temporary one runs; empty when it is none."""
        try:
            return self._owner_lock.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def is_abandoned(self) -> bool:
        """Return whether this is a temporary service whose owner is dead; the kernel knows."""
        return _is_held(self._owner_lock) is False

    def is_hosted(self) -> bool:
        """Return whether a living process hosts the services of this state folder."""
        return _is_held(self.path.parents[1] / HOST_LOCK) is True

    def request_supervisor(self) -> None:
        """Ask the host for a supervisor."""
        (self.path / self.REQUEST).touch()

    def take_charge(self) -> int | None:
        """Become the one supervisor of this service.

        Returns:
            A descriptor that holds the charge until it is closed or the process ends, however it
            ends; None when another process has it, or the service was deleted.
        """
        try:
            descriptor = os.open(self._supervisor_lock, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def supervisor_pid(self) -> int | None:
        """Return the process in charge, None when there is none; asks the kernel, not the file."""
        try:
            descriptor = os.open(self._supervisor_lock, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.pread(descriptor, 32, 0) or b"0") or None
        finally:
            os.close(descriptor)
        return None


def _is_held(lock: Path) -> bool | None:
    """Return whether a living process holds a lock; None when there is no such file."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return True
    return False
