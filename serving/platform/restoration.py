"""Bringing back an earlier release: on trial without users first, as every release."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from serving.platform.interface import InferencePlatform, PlatformError, ServiceStatus
from serving.platform.releases import Release, ReleaseLog
from serving.platform.storage import materialise
from serving.predictor.package import PackageError, open_package


@dataclass(frozen=True)
class Restored:
    """What came of it.

    Attributes:
        status: What the service consists of now.
        release: The release that was asked for.
        changed: False when it was stable already.
    """

    status: ServiceStatus
    release: Release
    changed: bool = True


def restore(
    platform: InferencePlatform,
    service: str,
    *,
    to: str,
    reason: str,
    force: bool = False,
    timeout_s: float = 300.0,
) -> Restored:
    """Give everybody an earlier release again, with the settings it had.

    It becomes a candidate without users, and stable once it is ready; the present stable serves
    until then, and on after a failure. Safe to repeat: one that was killed is taken up.

    Args:
        platform: Where the service runs.
        service: Name of the service.
        to: Version or package URI of the release.
        reason: Why, for the record.
        force: Whether one that nobody ever found good, or that was rolled back, may return.
        timeout_s: How long it may take to become ready.

    Raises:
        PlatformError: If there is no such release, its package is not what was released, a
            rollout is running, or the platform cannot do it.
    """
    if not reason.strip():
        raise PlatformError("reason: found none, expected why, for the record")
    log, status = platform.releases(service), platform.status(service)
    release = find_release(log, to, service=service)
    stable, on_its_way = log.stable_release, _is_way_back(log, release)
    unchanged = status.stable is not None and stable is not None and stable.digest == release.digest
    if unchanged and not (status.canary is not None and on_its_way):
        return Restored(status, release, changed=False)
    if release.verdict != "promoted" and not force:
        raise PlatformError(f"{service}: {_objection(release)}; expected --force to bring it back")
    if status.canary is not None and not on_its_way:
        raise PlatformError(
            f"{service}: found {status.canary.name} on trial, expected no rollout: wait for its "
            "end, or end it with abort"
        )
    _verify(release)
    return Restored(_brought_back(platform, service, release, reason, timeout_s), release)


def find_release(log: ReleaseLog, to: str, *, service: str) -> Release:
    """Return the newest earlier release of a version or package, if possible one found good.

    What is on trial is none yet, though it may be the way back to one.

    Raises:
        PlatformError: If there is none; names those there are.
    """
    wanted = {to.rstrip("/"), str(Path(to).expanduser().resolve()) if "://" not in to else to}
    ended = [one for one in reversed(log.releases) if one.verdict != "on trial"]
    found = [one for one in ended if to in _versions(one) or one.storage_uri.rstrip("/") in wanted]
    if not found:
        names = dict.fromkeys(name for one in ended for name in _versions(one) or [one.storage_uri])
        older = f", and {log.forgotten} older ones forgotten" if log.forgotten else ""
        raise PlatformError(
            f"{service}: found no earlier release {to!r}, expected one of "
            f"{', '.join(names) or 'none yet'}{older}"
        )
    return next((one for one in found if one.verdict == "promoted"), found[0])


def _versions(release: Release) -> list[str]:
    version = release.provenance.version
    return [] if version is None else [str(version)]


def _brought_back(
    platform: InferencePlatform, service: str, release: Release, reason: str, timeout_s: float
) -> ServiceStatus:
    why = f"back to {release.name}: {reason}"
    provenance = replace(release.provenance, back_to=release.number, reason=why)
    try:
        status = platform.status(service)
        if status.canary is None or not status.canary.ready:
            platform.deploy(release.inference_service, timeout_s=timeout_s, provenance=provenance)
        platform.set_traffic(service, 100)
        return platform.promote(service, reason=why)
    except PlatformError as error:
        left = _taken_away(platform, service, release, why=f"{why}: {error}")
        raise PlatformError(f"{service}: not brought {why}: {error}; {left}") from error


def _taken_away(platform: InferencePlatform, service: str, release: Release, *, why: str) -> str:
    """Take the candidate away, if it is ours, and return how the service was left."""
    try:
        ours = _is_way_back(platform.releases(service), release)
        if ours and platform.status(service).canary is not None:
            platform.roll_back(service, reason=why)
        stable = platform.status(service).stable
    except PlatformError as error:
        return f"and then: {error}; repeat the command once the platform answers"
    return f"{stable.name} serves on" if stable else "nothing is stable"


def _is_way_back(log: ReleaseLog, release: Release) -> bool:
    """Return whether a canary, if there is one, is the way back to this release.

    It may be noted as promoted and still be on trial, if the process died in between.
    """
    newest = log.releases[-1]
    ended = newest.verdict in ("rolled back", "replaced")
    return newest.provenance.back_to == release.number and not ended


def _objection(release: Release) -> str:
    decided = release.decided
    if decided is None or decided.what == "replaced":
        return f"found {release.name} never promoted, so nobody knows whether it is good"
    return f"found {release.name} rolled back by {decided.by} at {decided.at}: {decided.why}"


def _verify(release: Release) -> None:
    """Refuse a package that is gone, altered, or another than the one that was released."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = materialise(release.storage_uri, Path(scratch) / "package")
        try:
            package = open_package(folder)
        except PackageError as error:
            raise PlatformError(f"{release.storage_uri}: {error}") from error
    released = release.provenance.model_sha256
    if released and package.model_sha256 != released:
        raise PlatformError(
            f"{release.storage_uri}: found model {package.model_sha256}, expected {released} as "
            "released"
        )
