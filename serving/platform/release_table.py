"""The release record for people, and for programs."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from serving.platform.releases import Release, ReleaseLog


def release_table(log: ReleaseLog) -> Table:
    """Return the releases as a table, newest first."""
    table = Table("", "version", "package", "deployed by", "run", "when (UTC)", "verdict", "why")
    for release in reversed(log.releases):
        deployed, decided = release.events[0], release.decided
        why = decided.why if decided else deployed.why
        table.add_row(
            _role(log, release),
            _version(release),
            release.storage_uri,
            deployed.by,
            release.provenance.run,
            deployed.at,
            release.verdict,
            why,
        )
    return table


def event_table(log: ReleaseLog) -> Table:
    """Return everything that was done, newest first."""
    table = Table("when (UTC)", "version", "what", "by", "run", "why")
    events = [(event, release) for release in log.releases for event in release.events]
    for event, release in sorted(events, key=lambda pair: pair[0].at)[::-1]:
        row = (event.at, _version(release), event.what, event.by, release.provenance.run, event.why)
        table.add_row(*row)
    return table


def notes(log: ReleaseLog) -> list[str]:
    """Return what the tables do not show."""
    found = []
    if log.stable is None:
        found.append("none of these is stable")
    if log.forgotten:
        found.append(f"{log.forgotten} older releases are forgotten")
    if events := sum(release.forgotten_events for release in log.releases):
        found.append(f"{events} events of these releases are forgotten")
    return found


def as_json(service: str, log: ReleaseLog) -> dict[str, Any]:
    """Return the record with everything in it, newest first."""
    return {
        "service": service,
        "stable": log.stable,
        "forgotten": log.forgotten,
        "releases": [
            {**asdict(one), "verdict": one.verdict, "stable": one.number == log.stable}
            for one in reversed(log.releases)
        ],
    }


def _role(log: ReleaseLog, release: Release) -> str:
    return "stable" if release.number == log.stable else ""


def _version(release: Release) -> str:
    version = release.provenance.version
    return "–" if version is None else str(version)
