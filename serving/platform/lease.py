"""One rollout at a time: a Lease (coordination.k8s.io) per service."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from serving.platform.cluster import JSON, ApiError, Cluster, Outdated, path
from serving.platform.interface import RolloutRunning

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class RolloutLeases:
    """Who may change a service.

    A deployment takes the lease, every look at the rollout renews it, its end gives it back. One
    whose pod died lets it run out. The same candidate may always take its own lease, so that a
    step that is repeated is not locked out by itself.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        *,
        duration_s: float = 900.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Use the Leases of a namespace.

        Args:
            cluster: Where they are kept.
            namespace: Their namespace.
            duration_s: How long a lease lasts that nobody renews.
            now: The time, UTC.
        """
        self._cluster, self._namespace = cluster, namespace
        self._duration_s, self._now = duration_s, now
        self._renewed: dict[str, datetime] = {}

    def take(self, service: str, holder: str) -> None:
        """Take the lease of a service, or renew it.

        Args:
            service: The service.
            holder: What stands for the rollout: its candidate.

        Raises:
            RolloutRunning: If another one has it.
        """
        found = self._cluster.get(self._path(service))
        if found is not None:
            self._refuse_if_held(service, found, holder)
        body = self._body(service, holder)
        try:
            if found is None:
                self._cluster.create(self._path(""), body)
            else:
                body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
                self._cluster.replace(self._path(service), body)
        except ApiError as error:
            now = self._cluster.get(self._path(service))
            if now is None or now["spec"].get("holderIdentity") != holder:
                if isinstance(error, Outdated):
                    raise RolloutRunning(
                        f"{service}: found another rollout that was first"
                    ) from error
                raise
        self._renewed[service] = self._now()

    def renew(self, service: str, holder: str) -> None:
        """Take the lease again when a tenth of its time is over."""
        last = self._renewed.get(service)
        if last is None or (self._now() - last).total_seconds() > self._duration_s / 10:
            self.take(service, holder)

    def give_back(self, service: str) -> None:
        """Let the next rollout begin."""
        self._cluster.delete(self._path(service))
        self._renewed.pop(service, None)

    @contextmanager
    def held(self, service: str, holder: str) -> Iterator[None]:
        """Take the lease, and give it back when the block ends."""
        self.take(service, holder)
        try:
            yield
        finally:
            self.give_back(service)

    def _refuse_if_held(self, service: str, lease: JSON, holder: str) -> None:
        spec = lease.get("spec") or {}
        renewed = spec.get("renewTime") or spec.get("acquireTime")
        if spec.get("holderIdentity") in (None, "", holder) or not renewed:
            return
        age_s = (self._now() - _parse(renewed)).total_seconds()
        if age_s < spec.get("leaseDurationSeconds", 0):
            raise RolloutRunning(
                f"{service}: found a rollout of {spec['holderIdentity']} seen {age_s:.0f} s ago, "
                f"expected none; it is given up after {spec['leaseDurationSeconds']} s of silence"
            )

    def _path(self, service: str) -> str:
        name = f"shopflow-rollout-{service}" if service else ""
        return path("coordination.k8s.io/v1", "leases", self._namespace, name)

    def _body(self, service: str, holder: str) -> JSON:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": f"shopflow-rollout-{service}",
                "namespace": self._namespace,
                "labels": {"app.kubernetes.io/managed-by": "shopflow", "shopflow/service": service},
            },
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": int(self._duration_s),
                "renewTime": self._now().strftime(_FORMAT),
            },
        }


def _parse(text: str) -> datetime:
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
