"""Changing an InferenceService and waiting until the cluster is seen to have obeyed."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.platform.cluster import JSON, ApiError, Cluster, Outdated, path
from serving.platform.deployment_mode import Observed, TrafficMode
from serving.platform.failure import condition, false_conditions, spec_failure
from serving.platform.interface import PlatformError, RevisionFailed
from serving.platform.release_record import KnownRevision
from serving.platform.requested import check_service
from serving.platform.service_state import contains

_API = "serving.kserve.io/v1beta1"
# Status writes of KServe's controller change the resourceVersion too, and come in bursts.
_VERSIONS_TRIED = 20


@dataclass(frozen=True)
class Waits:
    """How long the cluster is waited for.

    Attributes:
        poll_s: Between two looks.
        change_s: For a change of the traffic to be seen.
        grace_s: For which a revision that looks broken may still recover.
        route_s: For a route to list a canary that is ready, before it is taken for one that
            cannot split.
        restore_s: For the stable predictor to come back as a revision of its own (Knative).
    """

    poll_s: float = 1.0
    change_s: float = 120.0
    grace_s: float = 15.0
    route_s: float = 20.0
    restore_s: float = 300.0


class ServiceChanges:
    """The InferenceServices of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str, waits: Waits) -> None:
        """Change the services of a namespace.

        Args:
            cluster: Where KServe runs.
            namespace: Namespace of the services.
            waits: How long the cluster is waited for.
        """
        self._cluster, self._namespace, self._waits = cluster, namespace, waits

    def live(self, service: str) -> JSON | None:
        """Return the InferenceService; None when there is none."""
        return self._cluster.get(self._path(service))

    def rehearse(self, service: str, *bodies: Mapping[str, Any]) -> None:
        """Ask the API server and KServe's webhooks whether they would accept these.

        Raises:
            PlatformError: If they would not; nothing was changed.
        """
        for body in bodies:
            try:
                self._cluster.apply(self._path(service), body, dry_run=True)
            except ApiError as error:
                old = ".spec.canary: field not declared" in str(error)
                hint = ": KServe before 0.20 has no canary in Standard mode" * old
                raise PlatformError(
                    f"{service}: refused before anything changed: {error}{hint}"
                ) from error

    def apply(
        self, service: str, body: JSON, seen: Mapping[str, Any] | None, *, force: bool = False
    ) -> None:
        """Change the InferenceService that was seen, and no other.

        Args:
            service: Name of the service.
            body: The fields that are Shopflow's.
            seen: The InferenceService the change was decided on; None when there was none.
            force: Whether to take fields away from others, and not to mind what they changed.

        Raises:
            PlatformError: If somebody else has changed its spec since.
        """
        where, version = (
            self._path(service),
            (seen or {}).get("metadata", {}).get("resourceVersion"),
        )
        for _ in range(_VERSIONS_TRIED):
            locked = {**body, "metadata": {**body["metadata"]}}
            if version and not force:
                locked["metadata"]["resourceVersion"] = version
            try:
                self._cluster.apply(where, locked, force=force)
                return
            except Outdated as error:
                now = self._cluster.get(where)
                if now is not None and now["metadata"]["generation"] == _generation(seen):
                    version = now["metadata"]["resourceVersion"]  # only its status was written
                    continue
                if now is not None and contains(now["spec"], body["spec"]):
                    return  # applied before, only the answer got lost
                raise PlatformError(
                    f"{service}: found its spec changed by {_last_editor(now)} meanwhile, "
                    f"expected generation {_generation(seen)}"
                ) from error
        raise PlatformError(f"{service}: found its status changing faster than it can be applied")

    def await_split(
        self, service: str, mode: TrafficMode, expected: Mapping[str, int], *, alone: bool = False
    ) -> Observed:
        """Wait until the users are seen to be split as expected, by revision name.

        Args:
            service: Name of the service.
            mode: How KServe runs it.
            expected: Percentage (above zero) by revision name.
            alone: Whether in Standard mode no canary may be left, not even at 0 %.

        Raises:
            PlatformError: If they are not in time.
        """
        found: Observed | None = None
        for _ in self._looks(self._waits.change_s):
            live = self.live(service)
            if live is None:
                raise PlatformError(
                    f"{service}: found it deleted meanwhile, expected {dict(expected)}"
                )
            found = mode.observe(live, *expected)
            # KServe reports canaries until it has taken their Deployments away.
            beside = found.weighted or (live.get("status") or {}).get("canaryStatuses")
            busy = alone and mode.mode == "Standard" and beside
            if found.split == expected and found.settled and not busy:
                return found
        split = dict(found.split) if found else {}
        raise PlatformError(
            f"{service}: asked for the split {dict(expected)}, found {split} "
            f"after {self._waits.change_s:.0f} s"
        )

    def await_ready(
        self, service: str, known: KnownRevision, mode: TrafficMode, *, timeout_s: float
    ) -> tuple[str, Observed]:
        """Wait until the revision of a predictor answers requests.

        Returns:
            Its name, and what was observed.

        Raises:
            RevisionFailed: If it cannot, with the reason the cluster gives; a reason must last
                for a while, since images and buckets have their hiccups.
        """
        reason, broken_since = "KServe has not reacted to it", 0.0
        for _ in self._looks(timeout_s):
            live = self.live(service)
            if live is None:
                raise PlatformError(f"{service}: found it deleted meanwhile")
            name = mode.revision_name(live, known)
            if not name:
                reason = _unmet(live) or reason
                failure = spec_failure(live.get("status") or {})
                broken_since = self._judge(service, known, failure, broken_since)
                continue
            observed = mode.observe(live, name)
            found = observed.revisions[name]
            if found.ready and found.digest == known.digest and found.url:
                return name, observed
            reason = f"{name}: {found.reason or 'it has no address yet'}"
            broken_since = self._judge(service, known, reason if found.failed else "", broken_since)
        words = self._warning(service)
        raise RevisionFailed(
            f"{service}: not ready in {timeout_s:.0f} s: {reason}" + f"; {words}" * bool(words)
        )

    def await_condition(self, service: str, wanted: str, cause: str, *, timeout_s: float) -> None:
        """Wait until one condition of the InferenceService is True.

        Args:
            service: Name of the service.
            wanted: The condition.
            cause: Another one; while it is False for good, the first will not come true.
            timeout_s: For how long.

        Raises:
            RevisionFailed: If it is not, or not in time.
        """
        found: list[JSON] = []
        broken_since = math.inf
        for _ in self._looks(timeout_s):
            found = ((self.live(service) or {}).get("status") or {}).get("conditions") or []
            if condition(found, wanted) == "True":
                return
            broken = condition(found, cause) == "False"
            broken_since = min(broken_since, time.monotonic()) if broken else math.inf
            if time.monotonic() - broken_since >= self._waits.grace_s:
                break
        unmet = false_conditions(found, wanted, cause) or f"{wanted} is not reported"
        raise RevisionFailed(f"{service}: not ready: {unmet}")

    def await_no_users(self, service: str, mode: TrafficMode, name: str) -> bool:
        """Wait until a revision has no users; returns whether that was seen in time."""
        for _ in self._looks(self._waits.change_s):
            live = self.live(service)
            if live is None or not mode.observe(live).split.get(name):
                return True
        return False

    def lists_canary(self, service: str, mode: TrafficMode) -> bool:
        """Return whether the route comes to list a canary that is ready, so that it can split."""
        for _ in self._looks(self._waits.route_s):
            live = self.live(service)
            if live is not None and mode.observe(live).weighted:
                return True
        return False

    def remove(self, service: str) -> None:
        """Delete the InferenceService and wait until it is gone."""
        self._cluster.delete(self._path(service))
        for _ in self._looks(self._waits.change_s):
            if self.live(service) is None:
                return
        raise PlatformError(
            f"{service}: asked for its end, found it after {self._waits.change_s:.0f} s"
        )

    def _judge(self, service: str, known: KnownRevision, failure: str, since: float) -> float:
        if not failure:
            return 0.0
        now = time.monotonic()
        if since and now - since >= self._waits.grace_s:
            raise RevisionFailed(f"{service}: {known.storage_uri} cannot start: {failure}")
        return since or now

    def _warning(self, service: str) -> str:
        """Return KServe's latest warning about a service, when it may be read."""
        try:
            events = self._cluster.items(
                path("v1", "events", self._namespace),
                fieldSelector=f"involvedObject.name={service},type=Warning",
            )
        except ApiError:
            return ""  # only more words for an error that is already known
        latest = max(events, key=lambda event: event.get("lastTimestamp") or "", default={})
        return " ".join(str(latest.get(key, "")) for key in ("reason", "message")).strip()

    def _looks(self, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        while True:
            yield
            if time.monotonic() > deadline:
                return
            time.sleep(self._waits.poll_s)

    def _path(self, service: str) -> str:
        return path(_API, "inferenceservices", self._namespace, check_service(service))


def _generation(seen: Mapping[str, Any] | None) -> object:
    return (seen or {}).get("metadata", {}).get("generation")


def _unmet(live: Mapping[str, Any]) -> str:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return false_conditions(conditions, "PredictorReady", "IngressReady", "LatestDeploymentReady")


def _last_editor(live: Mapping[str, Any] | None) -> str:
    if live is None:
        return "somebody who deleted it"
    fields = [
        entry
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("subresource") != "status"
    ]
    latest: JSON = max(fields, key=lambda entry: entry.get("time") or "", default={})
    return repr(latest.get("manager", "somebody"))
