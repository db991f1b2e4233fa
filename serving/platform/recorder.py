"""Noting what is done to a service, with the time and who did it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from serving.platform.interface import Provenance
from serving.platform.releases import ReleaseLog, What


class Recorder:
    """Adds events to release logs; writes nothing itself."""

    def __init__(
        self, who: Callable[[], str], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Note events in somebody's name.

        Args:
            who: Returns who or what acts.
            now: The time, UTC.
        """
        self._who, self._now = who, now

    def opened(
        self,
        log: ReleaseLog,
        inference_service: Mapping[str, Any],
        provenance: Provenance | None,
        *,
        digest: str,
        storage_uri: str,
    ) -> ReleaseLog:
        """Return the log with a release on trial; see `ReleaseLog.opened`."""
        return log.opened(
            inference_service,
            provenance or Provenance(),
            digest=digest,
            storage_uri=storage_uri,
            at=self._at(),
            by=self._who(),
        )

    def noted(
        self, log: ReleaseLog, what: What, why: str = "", *, revision: str = ""
    ) -> ReleaseLog:
        """Return the log with an event of the release on trial; see `ReleaseLog.noted`."""
        if log.on_trial is None:
            return log
        return log.noted(what, at=self._at(), by=self._who(), why=why, revision=revision)

    def _at(self) -> str:
        return self._now().isoformat(timespec="seconds")
