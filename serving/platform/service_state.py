"""A service as the release record and the cluster together describe it; pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serving.platform.cluster import JSON
from serving.platform.deployment_mode import (
    MODE_ANNOTATION,
    Observed,
    ObservedRevision,
    TrafficMode,
)
from serving.platform.interface import Revision, ServiceStatus
from serving.platform.release_record import DIGEST_ANNOTATION, KnownRevision, ReleaseRecord


def adopted(live: Mapping[str, Any], mode: TrafficMode) -> ReleaseRecord:
    """Return the record of a service that somebody else deployed: what it runs is stable.

    Args:
        live: Its InferenceService.
        mode: How KServe runs it.
    """
    spec = live["spec"]
    predictor = {k: v for k, v in spec["predictor"].items() if k != "canaryTrafficPercent"}
    components = (live.get("status") or {}).get("components") or {}
    rolled_out = (components.get("predictor") or {}).get("latestRolledoutRevision", "")
    stable = KnownRevision(predictor, rolled_out)
    if mode.mode == "Standard":
        stable = KnownRevision(predictor, mode.revision_name(live, stable))
    return ReleaseRecord(
        stable=stable, extras={k: v for k, v in spec.items() if k not in ("predictor", "canary")}
    )


def inference_service(
    service: str,
    namespace: str,
    record: ReleaseRecord,
    *,
    mode: TrafficMode,
    spec: Mapping[str, Any],
    hidden: bool,
) -> JSON:
    """Return all fields of the InferenceService that are Shopflow's.

    Args:
        service: Name of the service.
        namespace: Its namespace.
        record: Its labels, annotations and the rest of its spec.
        mode: How KServe runs it.
        spec: Its predictor and canaries.
        hidden: Whether nobody outside the cluster may reach it.
    """
    annotations = dict(record.annotations)
    if mode.mode == "Standard":  # KServe's webhook refuses canaries without it
        annotations[MODE_ANNOTATION] = "Standard"
    label, local = mode.hidden
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": service,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "shopflow",
                **record.labels,
                **({label: local} if hidden else {}),
            },
            "annotations": annotations,
        },
        "spec": {**record.extras, **spec},
    }


def expected_split(record: ReleaseRecord, percent: int) -> dict[str, int]:
    """Return the percentage (above zero) by revision name once the candidate has its share."""
    if record.candidate is None:
        return {record.stable.name: 100} if record.stable else {}
    if record.stable is None:
        return {record.candidate.name: 100} if percent else {}
    shares = {record.stable.name: 100 - percent, record.candidate.name: percent}
    return {name: share for name, share in shares.items() if share}


def is_in(live: Mapping[str, Any], known: KnownRevision) -> bool:
    """Return whether an InferenceService asks for this predictor, as predictor or canary."""
    spec = live["spec"]
    predictors = [spec["predictor"], *(c["predictor"] for c in spec.get("canary") or ())]
    return any(
        (one.get("annotations") or {}).get(DIGEST_ANNOTATION, "") == known.digest
        for one in predictors
    )


def named(record: ReleaseRecord, live: Mapping[str, Any], mode: TrafficMode) -> ReleaseRecord:
    """Return the record with the candidate's name, as far as the cluster has given it one."""
    candidate = record.candidate
    if candidate is None or candidate.name or not is_in(live, candidate):
        return record
    return replace(record, candidate=replace(candidate, name=mode.revision_name(live, candidate)))


def service_status(
    live: Mapping[str, Any], record: ReleaseRecord, observed: Observed
) -> ServiceStatus:
    """Return what a service consists of now.

    Args:
        live: Its InferenceService.
        record: Which revisions are stable and on trial.
        observed: What the cluster says about them.
    """
    status = live.get("status") or {}
    candidate = record.candidate if record.candidate and is_in(live, record.candidate) else None
    return ServiceStatus(
        live["metadata"]["name"],
        url=status.get("url") or (status.get("address") or {}).get("url"),
        stable=_revision(record.stable, observed),
        canary=_revision(candidate, observed),
        last_rollback=record.last_rollback,
    )


def _revision(known: KnownRevision | None, observed: Observed) -> Revision | None:
    if known is None:
        return None
    found = observed.revisions.get(
        known.name, ObservedRevision(reason="the cluster has not made it")
    )
    return Revision(
        known.name,
        storage_uri=known.storage_uri,
        traffic_percent=observed.split.get(known.name, 0),
        ready=found.ready,
        reason=found.reason,
    )


def contains(live: Any, asked: Any) -> bool:
    """Return whether every field that is asked for has that value."""
    if isinstance(asked, Mapping):
        return isinstance(live, Mapping) and all(
            contains(live.get(key), value) for key, value in asked.items()
        )
    if isinstance(asked, list):
        return (
            isinstance(live, list) and len(live) == len(asked) and all(map(contains, live, asked))
        )
    return bool(live == asked)
