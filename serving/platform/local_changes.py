"""Changing a local service: its resource is edited by one client at a time, and then obeyed."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from serving.platform.inference_service import predictor_template
from serving.platform.interface import PlatformError, RevisionFailed
from serving.platform.releases import ReleaseLog, parse_log
from serving.platform.state import ServiceDirectory
from serving.platform.supervision import ensure_supervisor

POLL_S = 0.05
CHANGE_TIMEOUT_S = 30.0
JSON = dict[str, Any]


def change(
    directory: ServiceDirectory,
    edit: Callable[[JSON, JSON | None, ReleaseLog], ReleaseLog],
    *,
    canary: str | None = None,
    may_create: bool = False,
) -> None:
    """Edit the resource, then wait until the supervisor has obeyed the edited one.

    Args:
        directory: The service's.
        edit: Given resource, stable predictor and release log, changes the resource and
            returns the log of it.
        canary: The revision that must be on trial still.
        may_create: Whether there need be no such service.

    Raises:
        PlatformError: If there is no such service or canary, or the supervisor does not obey.
    """
    service = directory.path.name
    with directory.changing():
        resource = directory.read(directory.resource)
        if not resource and not may_create:
            raise PlatformError(f"{service}: no such service below {directory.path.parent}")
        generation = resource.get("metadata", {}).get("generation", 0) + 1
        revisions = directory.read(directory.revisions)
        templates = revisions.get("templates", {})
        stable = templates.get(revisions.get("stable"))
        if canary and templates.get(canary) != predictor_template(resource):
            raise PlatformError(f"{service}: found {canary} gone, expected it on trial")
        before = directory.read(directory.releases)
        log = edit(resource, stable, parse_log(before) if before else ReleaseLog())
        resource["metadata"]["generation"] = generation
        # First, because a change that is noted and then not made is made when it is repeated.
        directory.write(directory.releases, asdict(log))
        directory.write(directory.resource, resource)
    ensure_supervisor(directory)
    deadline = time.monotonic() + CHANGE_TIMEOUT_S
    while directory.read(directory.status).get("generation", 0) < generation:
        if time.monotonic() > deadline:
            raise PlatformError(f"{service}: generation {generation} was not obeyed")
        time.sleep(POLL_S)


def await_ready(directory: ServiceDirectory, timeout_s: float) -> None:
    """Wait until every revision of the service is ready.

    Args:
        directory: The service's.
        timeout_s: How long.

    Raises:
        RevisionFailed: If one was given up, or is not ready in time; says why.
    """
    service = directory.path.name
    deadline = time.monotonic() + timeout_s
    while True:
        revisions = directory.read(directory.status).get("revisions", {})
        for name, state in revisions.items():
            if state["failed"]:
                raise RevisionFailed(f"{service}: {name} cannot start: {state['reason']}")
        waiting = [f"{n} ({s['reason']})" for n, s in revisions.items() if not s["ready"]]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise RevisionFailed(f"{service}: not ready in {timeout_s:.0f} s: {waiting}")
        if directory.supervisor_pid() is None:
            ensure_supervisor(directory)
        time.sleep(POLL_S)
