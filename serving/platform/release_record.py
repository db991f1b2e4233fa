"""The release record: what Shopflow knows of a service's revisions, in a ConfigMap beside it.

It is not an annotation of the InferenceService, because KServe copies those to the pod template:
in Knative mode each new word would be a new revision, in Standard mode a restart of the stable one.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serving.platform.cluster import JSON, ApiError, Cluster, Outdated, path
from serving.platform.inference_service import storage_uri
from serving.platform.interface import PlatformError, Rollback
from serving.platform.releases import ReleaseLog, parse_log

DIGEST_ANNOTATION = "shopflow/template"
_KEY = "release.json"


class RecordChanged(PlatformError):
    """Somebody else has written the record since it was read."""


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
        log: What was released, how it ended, and why.
        version: resourceVersion of the ConfigMap; empty when there is none yet.
    """

    stable: KnownRevision | None = None
    candidate: KnownRevision | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    splits: bool = True
    last_rollback: Rollback | None = None
    log: ReleaseLog = field(default_factory=ReleaseLog)
    version: str = ""

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
            log=parse_log(content["log"]),
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
            RecordChanged: If somebody else has written it since it was read.
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
                raise RecordChanged(
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
