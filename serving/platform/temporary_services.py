"""Temporary InferenceServices on a cluster: begun, ended, and swept when their maker is dead."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from serving.platform.changes import ServiceChanges
from serving.platform.cluster import JSON, Cluster, path
from serving.platform.deployment_mode import TrafficMode
from serving.platform.inference_service import API_VERSION
from serving.platform.interface import PlatformError, ServiceStatus, TemporaryService
from serving.platform.release_record import KnownRevision, ReleaseRecord
from serving.platform.requested import Requested
from serving.platform.service_state import service_status
from serving.platform.temporary import RUN, TEMPORARY_OF, deleted_afterwards, ensure_deleted
from serving.platform.trial import Trials

EXPIRES = "shopflow/expires"
# The pod a pipeline's step runs in (kubeflow/pipelines: argocompiler/common.go, commonEnvs).
_POD_NAME, _POD_UID = "KFP_POD_NAME", "KFP_POD_UID"
# For its end, for the last request, and for clocks that differ.
_MARGIN_S = 300.0


class TemporaryServices:
    """The temporary services of one namespace.

    Each belongs to the pod that made it, when that is a pod of the namespace, so that Kubernetes
    deletes it with the pod; and each says when it is left over at the latest.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        changes: ServiceChanges,
        trials: Trials,
        *,
        now: Callable[[], datetime],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Use the InferenceServices of a namespace.

        Args:
            cluster: Where they are.
            namespace: Their namespace.
            changes: How they are changed.
            trials: What their resources are made by.
            now: The time, UTC.
            environment: Names the pod this process runs in.
        """
        self._cluster, self._namespace = cluster, namespace
        self._changes, self._trials = changes, trials
        self._now, self._environment = now, environment

    @contextmanager
    def running(
        self, asked: Requested, *, of: str, mode: TrafficMode, timeout_s: float, use_s: float
    ) -> Iterator[ServiceStatus]:
        """Run a service nobody outside the cluster reaches until the block ends.

        Args:
            asked: The service.
            of: The service whose candidate it runs.
            mode: How KServe runs it.
            timeout_s: How long it may take to become ready.
            use_s: How long it is needed then.

        Raises:
            RevisionFailed: If it cannot become ready.
            PlatformError: If it cannot be made, or is not gone afterwards.
        """
        name, known = asked.service, KnownRevision(mode.stamp(asked.template))
        ends = self._now() + timedelta(seconds=timeout_s + use_s + _MARGIN_S)
        record = ReleaseRecord(
            candidate=known,
            labels={**asked.labels, TEMPORARY_OF: of},
            annotations={**asked.annotations, EXPIRES: ends.isoformat(timespec="seconds")},
            extras=asked.extras,
        )
        mode.check(record)
        if self._changes.live(name) is not None:
            raise PlatformError(f"{name}: found a service of this name, expected none")
        body = self._trials.body(name, record, mode, percent=0)
        body["metadata"]["ownerReferences"] = self._owners()
        deadline = time.monotonic() + timeout_s
        with deleted_afterwards(name, partial(self._changes.remove, name)):
            self._changes.apply(name, body, None)
            revision, observed = self._changes.await_ready(name, known, mode, timeout_s=timeout_s)
            if "transformer" in asked.extras:
                self._changes.await_condition(
                    name,
                    "TransformerReady",
                    "TransformerConfigurationReady",
                    timeout_s=deadline - time.monotonic(),
                )
            record = replace(record, candidate=replace(known, name=revision))
            yield service_status(self._changes.live(name) or body, record, observed)

    def clean_up(self, service: str, *, ended_run: str = "") -> tuple[TemporaryService, ...]:
        """Delete what is left over of a service's candidates.

        Args:
            service: The service.
            ended_run: A pipeline run none of whose steps goes on: what it made is left over.

        Returns:
            All that were found: those left over, now deleted, and those in use.

        Raises:
            PlatformError: If one is still there.
        """
        where = path(API_VERSION, "inferenceservices", self._namespace)
        found = []
        for item in self._cluster.items(where, labelSelector=f"{TEMPORARY_OF}={service}"):
            name, reason = item["metadata"]["name"], self._left_over(item, ended_run)
            if reason:
                ensure_deleted(name, partial(self._changes.remove, name))
            found.append(TemporaryService(name, reason))
        return tuple(found)

    def _owners(self) -> list[JSON]:
        """Return this process' pod; asks for it, since to Kubernetes an unknown owner is dead."""
        name, uid = (self._environment.get(key, "") for key in (_POD_NAME, _POD_UID))
        if not name or self._pod(name).get("metadata", {}).get("uid") != uid:
            return []
        return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]

    def _left_over(self, item: Mapping[str, Any], ended_run: str) -> str:
        """Return why nobody uses a temporary service any more; empty while somebody may."""
        if ended_run and item["metadata"]["labels"].get(RUN) == ended_run:
            return f"its run {ended_run} has ended"
        for owner in item["metadata"].get("ownerReferences") or ():
            if owner["kind"] != "Pod":
                continue
            pod = self._pod(owner["name"])
            if pod.get("metadata", {}).get("uid") != owner["uid"]:
                return f"its pod {owner['name']} is gone"
            if (phase := pod.get("status", {}).get("phase")) in ("Succeeded", "Failed"):
                return f"its pod {owner['name']} has {phase.lower()}"
        expires = (item["metadata"].get("annotations") or {}).get(EXPIRES, "")
        return f"it expired at {expires}" if _is_past(expires, self._now()) else ""

    def _pod(self, name: str) -> JSON:
        where = path("v1", "pods", self._namespace)
        return next(iter(self._cluster.items(where, fieldSelector=f"metadata.name={name}")), {})


def _is_past(text: str, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) <= now
    except ValueError:
        return False  # the label is somebody's own: nothing we made
