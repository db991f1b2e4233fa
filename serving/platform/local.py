"""The inference platform on one machine: server processes, a router, a folder of state."""

import copy
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from serving.platform.identity import local_user
from serving.platform.inference_service import (
    check_name,
    check_percent,
    digest,
    predictor_template,
    service_name,
    storage_uri,
)
from serving.platform.interface import (
    NoReleases,
    PlatformError,
    Prediction,
    Provenance,
    Revision,
    RevisionMetrics,
    Rollback,
    ServiceStatus,
    TemporaryService,
)
from serving.platform.local_changes import CHANGE_TIMEOUT_S, JSON, POLL_S, await_ready, change
from serving.platform.prediction import read_prediction, send_request
from serving.platform.recorder import Recorder
from serving.platform.releases import ReleaseLog, parse_log
from serving.platform.router_metrics import read_metrics
from serving.platform.state import OWNER_LOCK, ServiceDirectory
from serving.platform.supervision import ensure_supervisor
from serving.platform.temporary import deleted_afterwards
from serving.protocol.headers import REVISION_HEADER

_ROLLBACK_ANNOTATION = "shopflow/last-rollback"


def default_state_dir() -> Path:
    """Return the folder of "local" without a folder: XDG_STATE_HOME/shopflow."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "shopflow"


class LocalPlatform:
    """Runs InferenceServices on this machine; an `InferencePlatform`.

    The resource is a file; one supervisor process per service, started when needed, makes it so
    and outlives whoever wrote the file.
    """

    def __init__(self, state_dir: Path, *, namespace: str) -> None:
        """Connect to the services below a folder.

        Args:
            state_dir: The folder; made when the first service is deployed.
            namespace: Subfolder the services are in.
        """
        self._root = state_dir / check_name(namespace, "namespace")
        # Only ever loopback: no proxy from the environment, no certificates to load.
        self._http = httpx.Client(trust_env=False, verify=False, timeout=60)
        self._recorder = Recorder(local_user)
        self._mine: dict[str, str] = {}

    def services(self) -> list[str]:
        """Return the names of the services that exist."""
        return sorted(file.parent.name for file in self._root.glob("*/inference_service.json"))

    def status(self, service: str) -> ServiceStatus:
        """Return what the service consists of now."""
        directory = self._directory(service)
        resource, state = directory.read(directory.resource), directory.read(directory.status)
        if not resource:
            return ServiceStatus(service)
        running = directory.supervisor_pid() is not None
        revisions = directory.read(directory.revisions)
        templates = revisions.get("templates", {})
        stable, latest = revisions.get("stable"), revisions.get("latest")
        found = {
            name: _revision(name, state.get("revisions", {}).get(name, {}), running=running)
            for name in templates
        }
        recorded = resource["metadata"].get("annotations", {}).get(_ROLLBACK_ANNOTATION)
        return ServiceStatus(
            service,
            url=state.get("url"),
            stable=found.get(stable),
            canary=found.get(latest) if latest != stable else None,
            last_rollback=Rollback(**json.loads(recorded)) if recorded else None,
        )

    @contextmanager
    def temporary_service(
        self,
        inference_service: Mapping[str, Any],
        *,
        instead_of: Mapping[str, Any],
        timeout_s: float = 300.0,
        use_s: float = 60.0,
    ) -> Iterator[ServiceStatus | None]:
        """Run a candidate as a service of its own, which is gone when the block ends.

        It needs no time to end at (`use_s`): it does not outlive this process, killed or not.
        """
        of, name = service_name(instead_of), service_name(inference_service)
        if _stable(self._directory(of)) == predictor_template(instead_of):
            yield None
            return
        self.clean_up(of)
        with (
            self._directory(name).owned(of),
            deleted_afterwards(name, lambda: self.delete(name)),
        ):
            yield self.deploy(inference_service, timeout_s=timeout_s)

    def clean_up(self, service: str, *, ended_run: str = "") -> tuple[TemporaryService, ...]:
        """Delete the temporary services that dead processes left behind of a service.

        Which are, the kernel knows, whatever their run (`ended_run`).
        """
        check_name(service, "service")
        found = []
        for lock in sorted(self._root.glob(f"*/{OWNER_LOCK}")):
            directory = ServiceDirectory(lock.parent)
            if directory.temporary_of() != service:
                continue
            abandoned = directory.is_abandoned()
            if abandoned:
                self.delete(directory.path.name)
            found.append(
                TemporaryService(directory.path.name, "its process is gone" if abandoned else "")
            )
        return tuple(found)

    def deploy(
        self,
        inference_service: Mapping[str, Any],
        *,
        timeout_s: float = 300.0,
        provenance: Provenance | None = None,
    ) -> ServiceStatus:
        """Make the described predictor the canary at 0 % and wait until it is ready."""
        service = service_name(inference_service)
        template = predictor_template(inference_service)
        self._mine.pop(service, None)

        def describe(resource: JSON, stable: JSON | None, log: ReleaseLog) -> ReleaseLog:
            metadata = dict(inference_service["metadata"])
            old = resource.get("metadata", {})
            annotations = old.get("annotations", {}) | metadata.get("annotations", {})
            resource.update(copy.deepcopy(dict(inference_service)))
            resource["metadata"] = metadata | {"annotations": annotations}
            resource["spec"]["predictor"] = dict(template)
            if stable == template:
                return self._recorder.noted(log, "replaced", "by another deployment")
            resource["spec"]["predictor"]["canaryTrafficPercent"] = 0
            return self._recorder.opened(
                log,
                inference_service,
                provenance,
                digest=digest(template),
                storage_uri=storage_uri(template),
            )

        change(self._directory(service), describe, may_create=True)
        await_ready(self._directory(service), timeout_s)
        return self._ready(service)

    def set_traffic(self, service: str, percent: int) -> ServiceStatus:
        """Send this share of the users to the canary."""
        check_percent(percent)

        def split(resource: JSON, _: JSON | None, log: ReleaseLog) -> ReleaseLog:
            resource["spec"]["predictor"]["canaryTrafficPercent"] = percent
            return self._recorder.noted(log, "traffic", f"{percent} %")

        before = self._canary(service)
        change(self._directory(service), split, canary=before.name)
        status = self.status(service)
        expected = 100 if status.stable is None and percent else percent
        found = status.canary and (status.canary.name, status.canary.traffic_percent)
        if found != (before.name, expected):
            raise PlatformError(f"{service}: asked for {percent} %, found {status.canary}")
        return status

    def promote(self, service: str, *, reason: str = "") -> ServiceStatus:
        """Make the canary the stable revision, take the old one away and record why."""
        name = self._canary(service).name

        def promoted(resource: JSON, _: JSON | None, log: ReleaseLog) -> ReleaseLog:
            resource["spec"]["predictor"].pop("canaryTrafficPercent", None)
            return self._recorder.noted(log, "promoted", reason)

        change(self._directory(service), promoted, canary=name)
        status = self._wait(
            service, lambda found: found.stable is not None and found.stable.name == name
        )
        self._mine.pop(service, None)
        return status

    def roll_back(self, service: str, *, reason: str) -> ServiceStatus:
        """Take the canary away and record why."""
        name = self._canary(service).name

        def restore(resource: JSON, stable: JSON | None, log: ReleaseLog) -> ReleaseLog:
            resource["spec"]["predictor"] = stable or {}
            annotations = resource["metadata"].setdefault("annotations", {})
            annotations[_ROLLBACK_ANNOTATION] = json.dumps({"revision": name, "reason": reason})
            return self._recorder.noted(log, "rolled_back", reason)

        change(self._directory(service), restore, canary=name)
        status = self._wait(service, lambda found: found.canary is None)
        self._mine.pop(service, None)
        return status

    def predict(
        self, service: str, body: Mapping[str, Any], *, revision: str | None = None
    ) -> Prediction:
        """Send one v1 request; with a revision, to that one and outside its metrics."""
        url = self._url(service)
        headers = {REVISION_HEADER: revision} if revision else {}
        answer, latency_ms = send_request(
            self._http, url, service, body, headers=headers, where=url
        )
        answered_by = answer.headers.get(REVISION_HEADER, "")
        return read_prediction(answer, revision=answered_by, latency_ms=latency_ms)

    def metrics(self, service: str) -> Mapping[str, RevisionMetrics]:
        """Return the counters of the users' requests by revision name."""
        url = self._url(service)
        try:
            page = self._http.get(f"{url}/metrics").raise_for_status().text
        except httpx.HTTPError as error:
            raise PlatformError(f"{service}: no metrics from {url}: {error}") from error
        return read_metrics(page)

    def releases(self, service: str) -> ReleaseLog:
        """Return what was released on the service, how it ended, and why."""
        directory = self._directory(service)
        if not (found := directory.read(directory.releases)):
            raise NoReleases(f"{service}: found no release record below {self._root}")
        return parse_log(found)

    def start(self, service: str) -> ServiceStatus:
        """Start a stopped service again as it was."""
        directory = self._directory(service)
        if not directory.resource.exists():
            raise PlatformError(f"{service}: no such service below {self._root}")
        ensure_supervisor(directory)
        await_ready(directory, 300.0)
        return self.status(service)

    def stop(self, service: str) -> None:
        """Stop every process of a service; its state stays, so that `start` finds it."""
        directory = self._directory(service)
        pid = directory.supervisor_pid()
        if pid is None:
            return
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + CHANGE_TIMEOUT_S
        while directory.supervisor_pid() == pid:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)  # the kernel ends its servers with it
                deadline += CHANGE_TIMEOUT_S
            time.sleep(POLL_S)

    def delete(self, service: str) -> None:
        """Stop the service and forget it."""
        self.stop(service)
        folder = self._directory(service).path
        deadline = time.monotonic() + CHANGE_TIMEOUT_S
        # Again while a supervisor that came too late still has a file of its own in there.
        while folder.exists():
            if time.monotonic() > deadline:
                raise PlatformError(f"{service}: asked for its end, found {folder}")
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(POLL_S * folder.exists())

    def _directory(self, service: str) -> ServiceDirectory:
        return ServiceDirectory(self._root / check_name(service, "service"))

    def _canary(self, service: str) -> Revision:
        canary = self.status(service).canary
        if canary is None:
            raise PlatformError(f"{service}: found no canary, expected one to change")
        if self._mine.setdefault(service, canary.name) != canary.name:
            raise PlatformError(
                f"{service}: found canary {canary.name} of another rollout, "
                f"expected that of {self._mine[service]}"
            )
        return canary

    def _ready(self, service: str) -> ServiceStatus:
        """Note that the canary, if there is one, is ready, and by what name."""
        status, directory = self.status(service), self._directory(service)
        if status.canary is not None:
            with directory.changing():
                log = self._recorder.noted(
                    self.releases(service), "ready", revision=status.canary.name
                )
                directory.write(directory.releases, asdict(log))
        return status

    def _url(self, service: str) -> str:
        url = self.status(service).url
        if url is None:
            raise PlatformError(f"{service}: no such service below {self._root}")
        return url

    def _wait(self, service: str, done: Callable[[ServiceStatus], bool]) -> ServiceStatus:
        deadline = time.monotonic() + CHANGE_TIMEOUT_S
        while not done(status := self.status(service)):
            if time.monotonic() > deadline:
                raise PlatformError(f"{service}: the change was not made, found {status}")
            time.sleep(POLL_S)
        return status


def _stable(directory: ServiceDirectory) -> JSON | None:
    """Return the predictor that is stable, None when there is none."""
    revisions = directory.read(directory.revisions)
    found: JSON | None = revisions.get("templates", {}).get(revisions.get("stable"))
    return found


def _revision(name: str, state: Mapping[str, Any], *, running: bool) -> Revision:
    return Revision(
        name,
        storage_uri=state.get("storage_uri", ""),
        traffic_percent=state.get("traffic_percent", 0) if running else 0,
        ready=running and state.get("ready", False),
        reason=state.get("reason", "") if running else "the service is stopped",
    )
