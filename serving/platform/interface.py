"""What a pipeline may ask of the system that serves models, and the answers it gets."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from serving.platform.releases import ReleaseLog


class PlatformError(RuntimeError):
    """The platform refused or could not do what was asked; the message is one line."""

    def __init__(self, message: str) -> None:
        """Collapse the message into one line.

        Args:
            message: Service, what was asked, what happened instead.
        """
        super().__init__(" ".join(message.split()))


class RevisionFailed(PlatformError):
    """A revision cannot become ready; the message carries the reason the server gave."""


class NoReleases(PlatformError):
    """Nothing was ever released on the service."""


class RolloutRunning(PlatformError):
    """Another rollout of the service is running; nothing was changed."""


@dataclass(frozen=True)
class Revision:
    """One version of the model server, as the platform reports it.

    Attributes:
        name: The platform's name for it, unique within the service.
        storage_uri: Where its model package lies.
        traffic_percent: Share of the users it answers, 0 to 100.
        ready: Whether it answers requests now.
        reason: Why it is not ready, as far as known; empty when it is.
    """

    name: str
    storage_uri: str
    traffic_percent: int
    ready: bool
    reason: str = ""


@dataclass(frozen=True)
class Rollback:
    """The last revision that was taken away because it did badly, and why."""

    revision: str
    reason: str


@dataclass(frozen=True)
class ServiceStatus:
    """What a service consists of now; a service that does not exist has neither revision nor URL.

    Attributes:
        service: Name of the service.
        url: Base URL users send requests to.
        stable: The revision that was promoted last.
        canary: The revision on trial; on a first release there is no stable beside it.
        last_rollback: The last roll-back the service has seen.
    """

    service: str
    url: str | None = None
    stable: Revision | None = None
    canary: Revision | None = None
    last_rollback: Rollback | None = None


@dataclass(frozen=True)
class Provenance:
    """Where a release comes from, for the record.

    Attributes:
        version: Version of its package; None when unknown.
        run: The pipeline run that made the package.
        deployed_by: The pipeline run that deployed it.
        model_sha256: Digest of the model in it.
        back_to: Number of the earlier release this one brings back.
        reason: Why it is deployed, where a person said so.
    """

    version: int | None = None
    run: str = ""
    model_sha256: str = ""
    deployed_by: str = ""
    back_to: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class FeedbackCounts:
    """What became of a revision's answers, as the shop reported it.

    Attributes:
        impressions: Answers whose end is known.
        clicks: Those of them that did what they were for: any successes of trials.
    """

    impressions: int = 0
    clicks: int = 0


@dataclass(frozen=True)
class RevisionMetrics:
    """What one revision did with its users' requests since its counters began.

    All grow only; they start again from zero when the platform restarts.

    Attributes:
        requests: Requests by HTTP status code.
        latency_ms: Requests that took at most this long, by upper bound in ms (the last is inf).
        feedback: What the shop reported of its answers; None when nobody reported anything.
    """

    requests: Mapping[int, int] = field(default_factory=dict)
    latency_ms: Mapping[float, int] = field(default_factory=dict)
    feedback: FeedbackCounts | None = None


@dataclass(frozen=True)
class Prediction:
    """The answer to one request.

    Attributes:
        status_code: HTTP status code.
        body: The decoded JSON answer, or the text when it was not JSON.
        revision: The revision that answered.
        latency_ms: Time from sending to the whole answer.
    """

    status_code: int
    body: Any
    revision: str
    latency_ms: float


@dataclass(frozen=True)
class TemporaryService:
    """A service made to try a candidate, which should not exist for long.

    Attributes:
        name: Its name.
        left_over: Why nobody uses it any more; empty while somebody may.
    """

    name: str
    left_over: str = ""


class InferencePlatform(Protocol):
    """A place InferenceServices run in.

    Every verb that changes something returns once the platform reports the change as done, and
    raises `PlatformError` when it does not.
    """

    def status(self, service: str) -> ServiceStatus:
        """Return what the service consists of now."""
        ...

    def temporary_service(
        self,
        inference_service: Mapping[str, Any],
        *,
        instead_of: Mapping[str, Any],
        timeout_s: float = 300.0,
        use_s: float = 60.0,
    ) -> AbstractContextManager[ServiceStatus | None]:
        """Run a candidate as a service of its own, which is gone when the block ends.

        Its canary can be asked by `predict`; no user can reach it. What a dead process left behind
        of the same service is deleted first (`clean_up`).

        Args:
            inference_service: The candidate, under a name of its own.
            instead_of: The same candidate as `deploy` takes it. When that is stable already there
                is nothing to try, and None is what the block gets.
            timeout_s: How long it may take to become ready.
            use_s: How long it is needed then; some time later it counts as left over.

        Raises:
            RevisionFailed: If it cannot become ready.
            PlatformError: If it cannot be made, or is not gone afterwards: then it is named.
        """
        ...

    def clean_up(self, service: str, *, ended_run: str = "") -> Sequence[TemporaryService]:
        """Delete the temporary services that dead processes left behind of a service.

        Args:
            service: The service whose candidates they ran.
            ended_run: A pipeline run none of whose steps goes on: what it made is left over.

        Returns:
            All that were found; those left over are deleted, the others in use.
        """
        ...

    def deploy(
        self,
        inference_service: Mapping[str, Any],
        *,
        timeout_s: float = 300.0,
        provenance: Provenance | None = None,
    ) -> ServiceStatus:
        """Make the described predictor the canary at 0 % of the traffic and wait for it.

        A canary left by someone else is replaced. A predictor equal to the stable one leaves the
        service with that one alone, and nothing restarts.

        Args:
            inference_service: A serving.kserve.io/v1beta1 InferenceService.
            timeout_s: How long the revision may take to become ready.
            provenance: Where it comes from, for the record.

        Raises:
            RevisionFailed: If the revision cannot become ready; it is left in place, at 0 %.
        """
        ...

    def set_traffic(self, service: str, percent: int) -> ServiceStatus:
        """Send this share of the users to the canary; all of them when there is no stable."""
        ...

    def promote(self, service: str, *, reason: str = "") -> ServiceStatus:
        """Make the canary the stable revision, take the old one away and record why."""
        ...

    def roll_back(self, service: str, *, reason: str) -> ServiceStatus:
        """Take the canary away and record why; the stable revision answers everything again."""
        ...

    def predict(
        self, service: str, body: Mapping[str, Any], *, revision: str | None = None
    ) -> Prediction:
        """Send one v1 request; with a revision, to that one and outside its metrics."""
        ...

    def metrics(self, service: str) -> Mapping[str, RevisionMetrics]:
        """Return the counters of the users' requests by revision name."""
        ...

    def releases(self, service: str) -> "ReleaseLog":
        """Return what was released on the service, how it ended, and why.

        Raises:
            NoReleases: If nothing was.
        """
        ...

    def delete(self, service: str) -> None:
        """Stop the service and forget it; one that does not exist is no error."""
        ...
