"""The inference platform on a cluster: KServe, in Knative or Standard mode."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from serving.platform import knative, standard
from serving.platform.changes import ServiceChanges, Waits
from serving.platform.cluster import JSON, ApiError, Cluster
from serving.platform.deployment_mode import (
    MODE_ANNOTATION,
    TrafficMode,
    deployment_mode,
    read_config,
)
from serving.platform.identity import ClusterIdentity
from serving.platform.inference_service import check_percent
from serving.platform.interface import (
    NoReleases,
    PlatformError,
    Prediction,
    Provenance,
    RevisionMetrics,
    Rollback,
    ServiceStatus,
    TemporaryService,
)
from serving.platform.knative import KnativeMode
from serving.platform.lease import RolloutLeases
from serving.platform.prediction import Sender
from serving.platform.recorder import Recorder
from serving.platform.release_record import (
    KnownRevision,
    RecordChanged,
    RecordStore,
    ReleaseRecord,
)
from serving.platform.releases import ReleaseLog, What
from serving.platform.requested import Requested, check_service, read_request
from serving.platform.service_state import (
    adopted,
    expected_split,
    is_in,
    named,
    service_status,
)
from serving.platform.standard import StandardMode
from serving.platform.temporary_services import TemporaryServices
from serving.platform.trial import Trials

# How often a roll-back reads the record again that a running rollout writes meanwhile.
_VERSIONS_TRIED = 20


class MetricsSource(Protocol):
    """Where the counters of the users' requests come from."""

    def read(
        self, service: str, *, namespace: str, revisions: Collection[str]
    ) -> Mapping[str, RevisionMetrics]:
        """Return the counters by revision name; a revision without data is missing."""
        ...


class KServePlatform:
    """Runs InferenceServices on a cluster; an `InferencePlatform`.

    What is wanted is always computed whole from the release record and applied whole, so that a
    pipeline that dies between two steps leaves nothing half-known. What is observed is compared
    with it by revision name before a verb returns.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        metrics: MetricsSource | None = None,
        sender: Sender | None = None,
        waits: Waits | None = None,
        controller: str = "kserve",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Look after the services of a namespace.

        Args:
            cluster: Where KServe runs.
            namespace: Namespace of the services.
            metrics: Where the counters come from; without, there are none.
            sender: How requests get into the cluster.
            waits: How long the cluster is waited for.
            controller: Namespace of KServe itself.
            now: The time, UTC.
        """
        self._cluster, self._namespace, self._metrics = cluster, namespace, metrics
        self._sender, self._waits, self._now = sender or Sender(), waits or Waits(), now
        self._changes = ServiceChanges(cluster, namespace, self._waits)
        self._trials = Trials(self._changes, namespace, restore_s=self._waits.restore_s)
        self._records = RecordStore(cluster, namespace)
        self._leases = RolloutLeases(cluster, namespace, now=now)
        self._temporary = TemporaryServices(
            cluster, namespace, self._changes, self._trials, now=now
        )
        self._mine: dict[str, str] = {}
        self._recorder = Recorder(ClusterIdentity(cluster), now=now)
        self._config = read_config(cluster, namespace=controller)

    def status(self, service: str) -> ServiceStatus:
        """Return what the service consists of now."""
        live, record = self._changes.live(service), self._records.read(service)
        if live is None:
            return ServiceStatus(service, last_rollback=record.last_rollback if record else None)
        mode = self._mode(live)
        record = named(record or adopted(live, mode), live, mode)
        return service_status(live, record, mode.observe(live, *_names(record)))

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

        The service's lease is held meanwhile: one candidate at a time.
        """
        asked = read_request(instead_of, namespace=self._namespace)
        alone = read_request(inference_service, namespace=self._namespace)
        service, live = asked.service, self._changes.live(asked.service)
        mode = self._mode_for(asked, live)
        candidate = KnownRevision(mode.stamp(asked.template))
        before = self._before(service, live, mode)
        stable = before.stable
        if stable is None and live is not None and self._has_users(before.candidate, live, mode):
            stable = before.candidate
        if stable is not None and stable.digest == candidate.digest:
            yield None
            return
        if reported := ((live or {}).get("status") or {}).get("deploymentMode"):
            # The service's mode, in the cluster's own word for it; the default may be another.
            alone = replace(alone, annotations={**alone.annotations, MODE_ANNOTATION: reported})
        with self._leases.held(service, candidate.digest):
            self._temporary.clean_up(service)
            with self._temporary.running(
                alone, of=service, mode=mode, timeout_s=timeout_s, use_s=use_s
            ) as status:
                yield status

    def clean_up(self, service: str, *, ended_run: str = "") -> tuple[TemporaryService, ...]:
        """Delete the temporary services that dead processes left behind of a service."""
        return self._temporary.clean_up(check_service(service), ended_run=ended_run)

    def deploy(
        self,
        inference_service: Mapping[str, Any],
        *,
        timeout_s: float = 300.0,
        provenance: Provenance | None = None,
    ) -> ServiceStatus:
        """Make the described predictor the canary at 0 % of the traffic and wait for it.

        A first release is kept from everybody outside the cluster until it is given traffic.
        """
        asked = read_request(inference_service, namespace=self._namespace)
        service, live = asked.service, self._changes.live(asked.service)
        mode = self._mode_for(asked, live)
        candidate = KnownRevision(mode.stamp(asked.template))
        before = self._before(service, live, mode)
        wanted = replace(
            before,
            candidate=candidate,
            labels=asked.labels,
            annotations=asked.annotations,
            extras=asked.extras,
            splits=mode.mode == "Knative" or self._config.gateway_api is not False,
        )
        mode.check(wanted)
        if live is not None and self._has_users(before.candidate, live, mode):
            if before.stable is None:
                # The first release of a rollout that died; whoever has users is not replaced.
                before = self._noted(before, "promoted", "the users were on it already")
                before = replace(before, stable=before.candidate, candidate=None)
                wanted = replace(wanted, stable=before.stable)
                if before.stable and before.stable.digest == candidate.digest:
                    self._leases.take(service, candidate.digest)
                    return self.status(service)
        unchanged = before.stable is not None and before.stable.digest == candidate.digest
        if not unchanged:
            self._trials.rehearse(service, wanted, mode)
        self._leases.take(service, candidate.digest)
        if live is not None and (unchanged or self._has_users(before.candidate, live, mode)):
            before = self._noted(before, "replaced", "by another deployment")
            before = self._restored(service, before, live, mode)
            if unchanged:
                self._ended(service)
                return self.status(service)
            wanted = replace(wanted, stable=before.stable, version=before.version)
            live = self._changes.live(service)
        self._mine[service] = candidate.digest
        wanted = replace(wanted, log=before.log)
        wanted = self._records.write(service, self._opened(wanted, inference_service, provenance))
        wanted = self._trials.begin(service, wanted, live, mode, timeout_s=timeout_s)
        self._records.write(service, self._noted(wanted, "ready"))
        return self.status(service)

    def set_traffic(self, service: str, percent: int) -> ServiceStatus:
        """Send this share of the users to the canary; all of them when there is no stable."""
        check_percent(percent)
        live, record, mode = self._on_trial(service)
        if record.stable is not None and not record.splits and percent not in (0, 100):
            raise PlatformError(
                f"{service}: asked for {percent} %, expected 0 or 100: this cluster cannot split "
                "the traffic (its route lists one revision only); roll out with steps=100"
            )
        self._changes.apply(
            service, self._trials.body(service, record, mode, percent=percent), live
        )
        self._changes.await_split(service, mode, expected_split(record, percent))
        self._records.write(service, self._noted(record, "traffic", f"{percent} %"))
        return self.status(service)

    def promote(self, service: str, *, reason: str = "") -> ServiceStatus:
        """Make the canary the stable revision, take the old one away and record why."""
        live, record, mode = self._on_trial(service)
        after = replace(record, stable=record.candidate, candidate=None)
        self._changes.apply(service, self._trials.body(service, after, mode), live)
        self._changes.await_split(service, mode, expected_split(after, 100), alone=True)
        noted = self._noted(record, "promoted", reason)
        self._records.write(service, replace(after, log=noted.log))
        self._ended(service)
        return self.status(service)

    def roll_back(self, service: str, *, reason: str) -> ServiceStatus:
        """Take the canary away and record why; the stable revision answers everything again.

        Never kept from it by the lease or by other field managers: the users come first. A first
        release is deleted, for there is nothing to return to.
        """
        self._restored(service, *self._condemned(service, reason))
        self._ended(service)
        return self.status(service)

    def predict(
        self, service: str, body: Mapping[str, Any], *, revision: str | None = None
    ) -> Prediction:
        """Send one v1 request; with a revision, to that one alone."""
        live, record = self._changes.live(service), self._records.read(service)
        if live is None:
            raise PlatformError(f"{service}: no such service in namespace {self._namespace}")
        mode = self._mode(live)
        record = named(record or adopted(live, mode), live, mode)
        if revision is None:
            url = service_status(live, record, mode.observe(live)).url
        else:
            found = mode.observe(live, *_names(record)).revisions.get(revision)
            url = found.url if found else None
        if not url:
            raise PlatformError(f"{service}: found no address of {revision or 'it'}, expected one")
        return self._sender.send(url, service, body, revision=revision or "")

    def metrics(self, service: str) -> Mapping[str, RevisionMetrics]:
        """Return the counters of the users' requests by revision name."""
        if self._metrics is None:
            raise PlatformError(
                f"{service}: no data: found no Prometheus, expected kserve:prometheus=URL"
            )
        record = self._records.read(service)
        if record is None:
            live = self._changes.live(service)
            record = adopted(live, self._mode(live)) if live else ReleaseRecord()
        if record.candidate is not None:
            self._leases.renew(service, record.candidate.digest)
        return self._metrics.read(service, namespace=self._namespace, revisions=_names(record))

    def releases(self, service: str) -> ReleaseLog:
        """Return what was released on the service, how it ended, and why."""
        record = self._records.read(service)
        if record is None:
            raise NoReleases(f"{service}: found no release record in {self._namespace}")
        return record.log

    def delete(self, service: str) -> None:
        """Stop the service and forget it; one that does not exist is no error."""
        self._changes.remove(service)
        self._records.delete(service)
        self._ended(service)

    def _mode(
        self, live: Mapping[str, Any] | None, annotations: Mapping[str, str] | None = None
    ) -> TrafficMode:
        found = (live or {}).get("metadata", {}).get("annotations") or {}
        mode = deployment_mode(live, {**(annotations or {}), **found}, self._config)
        if mode == "Knative":
            return KnativeMode(self._cluster, self._namespace)
        routes = self._config.routes is not False
        return StandardMode(self._cluster, self._namespace, routes=routes)

    def _mode_for(self, asked: Requested, live: Mapping[str, Any] | None) -> TrafficMode:
        mode = self._mode(live, asked.annotations)
        (knative if mode.mode == "Knative" else standard).check_name(asked.service)
        return mode

    def _before(
        self, service: str, live: Mapping[str, Any] | None, mode: TrafficMode
    ) -> ReleaseRecord:
        record = self._records.read(service) or ReleaseRecord()
        if live is None:
            return replace(
                record, stable=None, candidate=None, log=replace(record.log, stable=None)
            )
        return record if record.version else adopted(live, mode)

    def _on_trial(
        self, service: str, *, lease: bool = True
    ) -> tuple[JSON, ReleaseRecord, TrafficMode]:
        live, record = self._changes.live(service), self._records.read(service)
        if live is None or record is None or record.candidate is None:
            raise PlatformError(f"{service}: found no canary, expected one to change")
        digest = record.candidate.digest
        if self._mine.setdefault(service, digest) != digest:
            raise PlatformError(
                f"{service}: found canary {record.candidate.name} of another rollout, "
                f"expected that of {self._mine[service]}"
            )
        if lease:
            if record.log.on_trial is None:
                raise PlatformError(
                    f"{service}: found its canary being taken away, expected one on trial"
                )
            self._leases.take(service, digest)
        mode = self._mode(live)
        return live, named(record, live, mode), mode

    def _condemned(self, service: str, reason: str) -> tuple[ReleaseRecord, JSON, TrafficMode]:
        """Record that the canary is taken away, before it is.

        From then on the process that rolls it out, which may go on meanwhile, is refused.
        """
        for _ in range(_VERSIONS_TRIED):
            live, record, mode = self._on_trial(service, lease=False)
            assert record.candidate is not None
            name = record.candidate.name or record.candidate.digest
            record = replace(record, last_rollback=Rollback(name, reason))
            record = self._noted(record, "rolled_back", reason)
            try:
                return self._records.write(service, record), live, mode
            except RecordChanged:
                continue  # that very process has written it meanwhile
            except ApiError:
                return record, live, mode  # the users come first; it is written again afterwards
        raise PlatformError(f"{service}: found its release record changing faster than it is read")

    def _ended(self, service: str) -> None:
        self._leases.give_back(service)
        self._mine.pop(service, None)

    def _restored(
        self, service: str, record: ReleaseRecord, live: Mapping[str, Any], mode: TrafficMode
    ) -> ReleaseRecord:
        return self._records.write(service, self._trials.end(service, record, live, mode))

    def _has_users(
        self, candidate: KnownRevision | None, live: Mapping[str, Any], mode: TrafficMode
    ) -> bool:
        if candidate is None or not is_in(live, candidate):
            return False
        return bool(mode.observe(live).split.get(candidate.name))

    def _opened(
        self, record: ReleaseRecord, asked: Mapping[str, Any], provenance: Provenance | None
    ) -> ReleaseRecord:
        assert record.candidate is not None
        digest, storage_uri = record.candidate.digest, record.candidate.storage_uri
        log = self._recorder.opened(
            record.log, asked, provenance, digest=digest, storage_uri=storage_uri
        )
        return replace(record, log=log)

    def _noted(self, record: ReleaseRecord, what: What, why: str = "") -> ReleaseRecord:
        name = record.candidate.name if record.candidate else ""
        return replace(record, log=self._recorder.noted(record.log, what, why, revision=name))


def _names(record: ReleaseRecord) -> list[str]:
    return [known.name for known in (record.stable, record.candidate) if known and known.name]
