"""What was released on a service: who, from which run, how it ended and why; pure, and bounded."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from serving.platform.interface import PlatformError, Provenance

# A ConfigMap ends at 1 MiB, and the record has more in it than its releases.
KEPT_RELEASES = 100
KEPT_BYTES = 700_000
KEPT_EVENTS = 50
_LONGEST_REASON = 500

What = Literal["deployed", "ready", "traffic", "promoted", "rolled_back", "replaced"]
Verdict = Literal["on trial", "promoted", "rolled back", "replaced"]
_VERDICTS: dict[What, Verdict] = {
    "promoted": "promoted",
    "rolled_back": "rolled back",
    "replaced": "replaced",
}


@dataclass(frozen=True)
class Event:
    """One thing that was done to a release.

    Attributes:
        at: UTC time, ISO 8601.
        what: What was done.
        by: Who or what did it.
        why: The reason, or the percentage.
    """

    at: str
    what: What
    by: str
    why: str = ""


@dataclass(frozen=True)
class Release:
    """One deployment of a package, from its trial on.

    Attributes:
        number: Its number within the service, from 1; never given twice.
        digest: What stands for its predictor, settings included.
        storage_uri: Its package.
        inference_service: What was deployed, so that it can be deployed again with its settings.
        provenance: Version and run of the package; for a way back, whither and why.
        revision: The platform's name for it during its trial; empty while there is none.
        events: What was done to it, oldest first; the first one is its deployment.
        forgotten_events: How many were forgotten between the first and the others.
    """

    number: int
    digest: str
    storage_uri: str
    inference_service: Mapping[str, Any]
    provenance: Provenance
    revision: str = ""
    events: tuple[Event, ...] = ()
    forgotten_events: int = 0

    @property
    def name(self) -> str:
        """Its version, or its package where that is unknown."""
        version = self.provenance.version
        return self.storage_uri if version is None else f"version {version}"

    @property
    def verdict(self) -> Verdict:
        """How it ended, by the last event that decided."""
        decided = self.decided
        return _VERDICTS[decided.what] if decided else "on trial"

    @property
    def decided(self) -> Event | None:
        """The last event that decided; None while it is on trial."""
        return next((event for event in reversed(self.events) if event.what in _VERDICTS), None)

    def with_event(self, event: Event) -> "Release":
        """Return it with one more event; some in the middle are forgotten, and counted."""
        first, rest = self.events[:1], (*self.events[1:], event)
        lost = max(0, len(rest) - (KEPT_EVENTS - 1))
        return replace(
            self,
            events=(*first, *rest[lost:]) if first else rest,
            forgotten_events=self.forgotten_events + (lost if first else 0),
        )


@dataclass(frozen=True)
class ReleaseLog:
    """The releases of one service.

    Attributes:
        releases: The newest ones, oldest first; at most `KEPT_RELEASES`.
        stable: Number of the one promoted last.
        forgotten: How many older ones were forgotten.
    """

    releases: tuple[Release, ...] = ()
    stable: int | None = None
    forgotten: int = 0

    @property
    def on_trial(self) -> Release | None:
        """The release nobody has decided on; only ever the newest."""
        newest = self.releases[-1] if self.releases else None
        return newest if newest and newest.verdict == "on trial" else None

    @property
    def stable_release(self) -> Release | None:
        """The release promoted last."""
        return next((one for one in self.releases if one.number == self.stable), None)

    def opened(
        self,
        inference_service: Mapping[str, Any],
        provenance: Provenance,
        *,
        digest: str,
        storage_uri: str,
        at: str,
        by: str,
    ) -> "ReleaseLog":
        """Return the log with a release on trial; the same one once more is no other.

        A trial that nobody ended is replaced by this one.

        Args:
            inference_service: What is deployed.
            provenance: Where it comes from.
            digest: What stands for its predictor.
            storage_uri: Its package.
            at: UTC time, ISO 8601.
            by: Who or what deploys it.
        """
        found = self.on_trial
        again = found and (found.digest, found.provenance) == (digest, provenance)
        if again:
            return self.noted("deployed", at=at, by=by, why="once more")
        number = self.releases[-1].number + 1 if self.releases else 1
        log = self.noted("replaced", at=at, by=by, why=f"by release {number}") if found else self
        release = Release(number, digest, storage_uri, inference_service, provenance)
        release = release.with_event(Event(at, "deployed", by, _short(provenance.reason)))
        return replace(log, releases=(*log.releases, release))._bounded()

    def noted(
        self, what: What, *, at: str, by: str, why: str = "", revision: str = ""
    ) -> "ReleaseLog":
        """Return the log with an event of the release on trial; without one nothing changes.

        A promotion makes it the stable one. When it was a way back, the release it leaves was
        rolled back.

        Args:
            what: What was done.
            at: UTC time, ISO 8601.
            by: Who or what did it.
            why: The reason, or the percentage.
            revision: The platform's name of it, once it has one.
        """
        found = self.on_trial
        if found is None:
            return self
        event = Event(at, what, by, _short(why))
        log = self._with(replace(found, revision=revision or found.revision).with_event(event))
        if what != "promoted":
            return log._bounded()
        left = self.stable_release
        if found.provenance.back_to is not None and left is not None:
            reason = _short(found.provenance.reason)
            log = log._with(left.with_event(Event(at, "rolled_back", by, reason)))
        return replace(log, stable=found.number)._bounded()

    def _with(self, release: Release) -> "ReleaseLog":
        releases = (release if one.number == release.number else one for one in self.releases)
        return replace(self, releases=tuple(releases))

    def _bounded(self) -> "ReleaseLog":
        """Forget the oldest releases, but never the stable one nor the newest."""
        sizes = {one.number: len(json.dumps(asdict(one))) for one in self.releases}
        kept = list(self.releases)
        while len(kept) > KEPT_RELEASES or sum(sizes.values()) > KEPT_BYTES:
            oldest = next((one for one in kept[:-1] if one.number != self.stable), None)
            if oldest is None:
                break
            kept.remove(oldest)
            del sizes[oldest.number]
        lost = len(self.releases) - len(kept)
        return replace(self, releases=tuple(kept), forgotten=self.forgotten + lost)


def parse_log(content: Mapping[str, Any]) -> ReleaseLog:
    """Return the log whose `asdict` this is.

    Raises:
        PlatformError: If it is not one.
    """
    try:
        return ReleaseLog(
            releases=tuple(_parse_release(one) for one in content["releases"]),
            stable=content["stable"],
            forgotten=content["forgotten"],
        )
    except (TypeError, KeyError) as error:
        raise PlatformError(
            f"release record: found {error!r}, expected what was written"
        ) from error


def _parse_release(content: Mapping[str, Any]) -> Release:
    events = tuple(Event(**event) for event in content["events"])
    if unknown := {event.what for event in events} - set(get_args(What)):
        raise KeyError(*unknown)
    provenance = Provenance(**content["provenance"])
    return Release(**{**content, "provenance": provenance, "events": events})


def _short(reason: str) -> str:
    """Return a reason on one line, shortened visibly."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
