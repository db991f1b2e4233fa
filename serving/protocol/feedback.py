"""What became of an answer: reports of the shop, counted by the revision they are about.

A report about one revision may reach any server of the service, as the traffic split decides, so
the revision is a label of the counters, and whoever reads them adds up over all servers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from serving.protocol.request import BadRequest, decoded

FEEDBACK_PATH = "/v1/feedback"
MAX_FEEDBACK_BYTES = 4096
_MAX_IMPRESSIONS = 1_000_000  # in one report; more is a mistake
_KEYS = {"revision", "impressions", "clicks"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 label


@dataclass(frozen=True)
class Feedback:
    """One report.

    Attributes:
        revision: Whose answers it is about.
        impressions: Answers whose end is known.
        clicks: Those of them that did what they were for, at most `impressions`.
    """

    revision: str
    impressions: int
    clicks: int


def read_feedback(body: bytes, content_type: str) -> Feedback:
    """Read a report.

    Args:
        body: JSON object with `revision`, `impressions` and `clicks`.
        content_type: Its Content-Type.

    Raises:
        BadRequest: If it is anything else.
    """
    found = decoded(body, content_type)
    if not isinstance(found, dict) or found.keys() != _KEYS:
        shown = sorted(found)[:5] if isinstance(found, dict) else type(found).__name__
        raise BadRequest(f"body: found {shown}, expected an object of {sorted(_KEYS)}")
    revision = found["revision"]
    if not isinstance(revision, str) or not _NAME.fullmatch(revision):
        raise BadRequest(f"revision: found {str(revision)[:40]!r}, expected a revision's name")
    impressions = _count(found, "impressions", low=1, high=_MAX_IMPRESSIONS)
    return Feedback(revision, impressions, _count(found, "clicks", low=0, high=impressions))


def _count(found: dict[str, object], name: str, *, low: int, high: int) -> int:
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadRequest(f"{name}: found {str(value)[:40]}, expected a number from {low} to {high}")
    return value


class FeedbackCounters:
    """Counts reports by revision.

    The label is `recommended_by`: `revision` is the server's own, and scrapers overwrite it.
    """

    def __init__(
        self,
        *,
        model: str,
        known: Callable[[str], bool],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Register the counters.

        Args:
            model: Label of the counters: the model's name.
            known: Whether a revision counts. It bounds the label's values, so it must not say yes
                to any number of names.
            registry: Where they are registered.
        """
        self._model, self._known = model, known
        labels = ("model_name", "recommended_by")
        self._impressions = Counter(
            "shopflow_feedback_impressions",
            "Answers whose end was reported, by the revision that gave them",
            labels,
            registry=registry,
        )
        self._clicks = Counter(
            "shopflow_feedback_clicks",
            "Those of them that did what they were for",
            labels,
            registry=registry,
        )
        self._refused = Counter(
            "shopflow_feedback_refused",
            "Reports that were not counted, by reason",
            ("model_name", "reason"),
            registry=registry,
        )

    def take(self, body: bytes, content_type: str) -> tuple[int, str]:
        """Count a report, or refuse it and count that.

        Args:
            body: The report, at most `MAX_FEEDBACK_BYTES`.
            content_type: Its Content-Type.

        Returns:
            The HTTP status, and what was wrong; nothing was when that is empty.
        """
        if len(body) > MAX_FEEDBACK_BYTES:
            return self._refuse(413, "too_large", f"the body is over {MAX_FEEDBACK_BYTES} bytes")
        try:
            found = read_feedback(body, content_type)
        except BadRequest as error:
            return self._refuse(400, "malformed", str(error))
        if not self._known(found.revision):
            wrong = f"revision: found {found.revision!r}, expected one of this service"
            return self._refuse(404, "unknown_revision", wrong)
        self._impressions.labels(self._model, found.revision).inc(found.impressions)
        self._clicks.labels(self._model, found.revision).inc(found.clicks)
        return 204, ""

    def _refuse(self, status: int, reason: str, message: str) -> tuple[int, str]:
        self._refused.labels(self._model, reason).inc()
        return status, message


class RevisionsOfService:
    """Which revisions a server counts reports about; it knows no other revision but itself.

    Its own always; of others the first ones whose names begin with the service's, as KServe names
    them all. The limit bounds what a wrong sender can make of the counters.
    """

    def __init__(self, service: str, *, own: str, limit: int = 32) -> None:
        """Know the server's own revision.

        Args:
            service: Name of the service, which is the model's name.
            own: The server's own revision.
            limit: How many others it counts.
        """
        self._own, self._prefix, self._limit = own, f"{service}-", limit
        self._others: set[str] = set()

    def __call__(self, revision: str) -> bool:
        """Return whether the revision counts."""
        if revision == self._own or revision in self._others:
            return True
        if not revision.startswith(self._prefix) or len(self._others) >= self._limit:
            return False
        self._others.add(revision)
        return True
