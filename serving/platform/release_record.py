"""The release record: what Shopflow knows of a service's revisions, in a ConfigMap beside it.

It is not an annotation of the InferenceService, because KServe copies those to the pod template:
in Knative mode each new word would be a new revision, in Standard mode a restart of the stable one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serving.platform.cluster import JSON, ApiError, Cluster, Outdated, path
from serving.platform.interface import PlatformError, Rollback

DIGEST_ANNOTATION = "shopflow/template"
_KEY = "release.json"
_EVENTS = 50


@dataclass(frozen=True)
class KnownRevision:
    """A revision whose predictor is known.

    Attributes:
        template: The predictor as it stands in the InferenceService, without a traffic split.
        name: The cluster's name for it; empty until Knative has made it.
    """

    template: Mapping[str, Any]
    name: str = ""

    @property
    def digest(self) -> str:
        """What was deployed, shortened; empty for a predictor somebody else wrote."""
        return str((self.template.get("annotations") or {}).get(DIGEST_ANNOTATION, ""))

    @property
    def storage_uri(self) -> str:
        """Where its model package lies."""
        return storage_uri(self.template)


@dataclass(frozen=True)
class Event:
    """One thing that was done to a service.

    Attributes:
        at: UTC time, ISO 8601.
        what: deployed, traffic, promoted, rolled_back.
        revision: The revision it was done to.
        storage_uri: Its package.
        by: Who or what did it: the pipeline run, the pod, or the user.
        why: The reason, or the percentage.
    """

    at: str
    what: str
    revision: str
    storage_uri: str
    by: str
    why: str = ""


@dataclass(frozen=True)
class ReleaseRecord:
    """The releases of one service.

    Attributes:
        stable: The revision promoted last; None before a first release is promoted.
        candidate: The revision on trial.
        labels: Labels of the InferenceService, which belong to all its revisions.
        annotations: Its annotations, likewise.
        extras: What its spec has beside the predictor.
        splits: Whether the cluster was seen to be able to split the traffic.
        last_rollback: The last roll-back.
        events: The latest events, oldest first.
        version: resourceVersion of the ConfigMap; empty when there is none yet.
    """

    stable: KnownRevision | None = None
    candidate: KnownRevision | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    splits: bool = True
    last_rollback: Rollback | None = None
    events: tuple[Event, ...] = ()
    version: str = ""

    def with_event(
        self, what: str, revision: KnownRevision, *, at: str, by: str, why: str = ""
    ) -> "ReleaseRecord":
        """Return the record with one more event, the oldest ones forgotten."""
        event = Event(
            at, what, revision.name, revision.storage_uri, by, " ".join(why.split())[:500]
        )
        return replace(self, events=(*self.events, event)[-_EVENTS:])

    def dump(self) -> str:
        """Return the record as JSON, without the version."""
        content = asdict(self)
        del content["version"]
        return json.dumps(content, sort_keys=True)


def parse_record(text: str, *, version: str = "") -> ReleaseRecord:
    """Return the record `dump` wrote.

    Raises:
        PlatformError: If it is not one.
    """
    try:
        content = json.loads(text)
        known = {
            role: KnownRevision(**content[role]) if content.get(role) else None
            for role in ("stable", "candidate")
        }
        rollback = content.get("last_rollback")
        return ReleaseRecord(
            **known,
            labels=content["labels"],
            annotations=content["annotations"],
            extras=content["extras"],
            splits=content["splits"],
            last_rollback=Rollback(**rollback) if rollback else None,
            events=tuple(Event(**event) for event in content["events"]),
            version=version,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise PlatformError(
            f"release record: found {error!r}, expected what was written"
        ) from error


class RecordStore:
    """Reads and writes the records of one namespace, each version only once."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Use the ConfigMaps of a namespace."""
        self._cluster, self._namespace = cluster, namespace

    def read(self, service: str) -> ReleaseRecord | None:
        """Return the record of a service; None when there is none."""
        found = self._cluster.get(self._path(service))
        if found is None:
            return None
        text = (found.get("data") or {}).get(_KEY, "")
        return parse_record(text, version=found["metadata"]["resourceVersion"])

    def write(self, service: str, record: ReleaseRecord) -> ReleaseRecord:
        """Write a record that was read before, or the first of a service.

        Returns:
            The record with its new version.

        Raises:
            PlatformError: If somebody else has written it since it was read.
        """
        body = self._body(service, record)
        try:
            if record.version:
                body["metadata"]["resourceVersion"] = record.version
                written = self._cluster.replace(self._path(service), body)
            else:
                written = self._cluster.create(self._path(""), body)
        except ApiError as error:
            now = self.read(service)
            if now is not None and now.dump() == record.dump():
                return now  # it was written, only the answer got lost
            if isinstance(error, Outdated):
                raise PlatformError(
                    f"{service}: found its release record changed by another rollout, expected "
                    "one rollout at a time"
                ) from error
            raise
        return replace(record, version=written["metadata"]["resourceVersion"])

    def delete(self, service: str) -> None:
        """Forget a service."""
        self._cluster.delete(self._path(service))

    def services(self) -> list[str]:
        """Return the names of the services that have a record."""
        found = self._cluster.items(
            self._path(""), labelSelector="app.kubernetes.io/component=release-record"
        )
        return sorted(item["metadata"]["labels"]["shopflow/service"] for item in found)

    def _path(self, service: str) -> str:
        name = f"shopflow-release-{service}" if service else ""
        return path("v1", "configmaps", self._namespace, name)

    def _body(self, service: str, record: ReleaseRecord) -> JSON:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"shopflow-release-{service}",
                "namespace": self._namespace,
                "labels": {
                    "app.kubernetes.io/managed-by": "shopflow",
                    "app.kubernetes.io/component": "release-record",
                    "shopflow/service": service,
                },
            },
            "data": {_KEY: record.dump()},
        }


def storage_uri(template: Mapping[str, Any]) -> str:
    """Return where a predictor's model lies: of `model`, or STORAGE_URI of the container."""
    if model := template.get("model"):
        return str(model.get("storageUri", ""))
    for container in template.get("containers") or ():
        for entry in container.get("env") or ():
            if entry.get("name") == "STORAGE_URI":
                return str(entry.get("value", ""))
    return ""


def digest(template: Mapping[str, Any]) -> str:
    """Return ten hexadecimal digits that stand for a predictor."""
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
