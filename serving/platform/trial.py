"""How a candidate gets on trial without users, and how it is taken away without losing any."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serving.platform.changes import ServiceChanges
from serving.platform.cluster import JSON
from serving.platform.deployment_mode import TrafficMode
from serving.platform.knative import KnativeMode
from serving.platform.release_record import ReleaseRecord
from serving.platform.service_state import expected_split, inference_service, is_in


class Trials:
    """Begins and ends the trials of one namespace's services."""

    def __init__(self, changes: ServiceChanges, namespace: str, *, restore_s: float) -> None:
        """Use the InferenceServices of a namespace.

        Args:
            changes: How they are changed.
            namespace: Their namespace.
            restore_s: How long Knative may take to bring the stable predictor back.
        """
        self._changes, self._namespace, self._restore_s = changes, namespace, restore_s

    def body(
        self, service: str, record: ReleaseRecord, mode: TrafficMode, *, percent: int = 100
    ) -> JSON:
        """Return the InferenceService that gives the candidate this share.

        Without a stable revision beside it, a candidate at 0 % is hidden from everybody outside.
        """
        hidden = record.stable is None and percent == 0
        return self._with(service, record, mode, mode.spec(record, percent), hidden=hidden)

    def rehearse(self, service: str, record: ReleaseRecord, mode: TrafficMode) -> None:
        """Ask for the canary, and for its promotion, without doing either.

        Raises:
            PlatformError: If the cluster would refuse one of them.
        """
        promoted = replace(record, stable=record.candidate, candidate=None)
        self._changes.rehearse(
            service,
            self.body(service, record, mode, percent=0),
            self.body(service, promoted, mode),
        )

    def begin(
        self,
        service: str,
        record: ReleaseRecord,
        live: Mapping[str, Any] | None,
        mode: TrafficMode,
        *,
        timeout_s: float,
    ) -> ReleaseRecord:
        """Put the candidate on trial at 0 % and wait until it is ready.

        Returns:
            The record with the candidate's name, and whether the cluster can split the traffic.

        Raises:
            RevisionFailed: If the candidate cannot become ready.
            PlatformError: If users are not where they were before.
        """
        assert record.candidate is not None
        self._changes.apply(service, self.body(service, record, mode, percent=0), live)
        name, observed = self._changes.await_ready(
            service, record.candidate, mode, timeout_s=timeout_s
        )
        record = replace(record, candidate=replace(record.candidate, name=name))
        self._changes.await_split(service, mode, expected_split(record, 0))
        if record.stable is not None and record.splits and not observed.weighted:
            record = replace(record, splits=self._changes.lists_canary(service, mode))
        return record

    def end(
        self, service: str, record: ReleaseRecord, live: Mapping[str, Any], mode: TrafficMode
    ) -> ReleaseRecord:
        """Give everybody the stable revision and take the candidate away.

        Fields are taken from other managers if need be: the users come first. A service that has
        no stable revision is deleted.

        Returns:
            The record without the candidate.
        """
        stable, after = record.stable, replace(record, candidate=None)
        if stable is None:
            self._changes.remove(service)
            return after
        if isinstance(mode, KnativeMode) and record.candidate and is_in(live, record.candidate):
            # Without a share the newest ready revision would get everything: first the users,
            # then the stable predictor as a revision of its own, then the share may go.
            self._force(service, after, mode, mode.spec(record, 0), live)
            self._changes.await_no_users(service, mode, record.candidate.name)
            self._force(service, after, mode, mode.restoring_spec(stable), live)
            name, _ = self._changes.await_ready(service, stable, mode, timeout_s=self._restore_s)
            after = replace(after, stable=replace(stable, name=name))
        self._force(service, after, mode, mode.spec(after, 100), live)
        self._changes.await_split(service, mode, expected_split(after, 100), alone=True)
        return after

    def _force(
        self,
        service: str,
        record: ReleaseRecord,
        mode: TrafficMode,
        spec: Mapping[str, Any],
        live: Mapping[str, Any],
    ) -> None:
        body = self._with(service, record, mode, spec, hidden=False)
        self._changes.apply(service, body, live, force=True)

    def _with(
        self,
        service: str,
        record: ReleaseRecord,
        mode: TrafficMode,
        spec: Mapping[str, Any],
        *,
        hidden: bool,
    ) -> JSON:
        return inference_service(
            service, self._namespace, record, mode=mode, spec=spec, hidden=hidden
        )
