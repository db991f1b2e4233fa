"""The step's work: replay, compare, and take a candidate away that should not meet users."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from components.errors import InputError
from components.release import Candidate, read_candidate
from components.shadow.comparison import Comparison, compare, find_objection
from components.shadow.replay import replay
from components.shadow.report import write_report, write_skipped
from components.shadow.requests import read_requests
from components.shadow.settings import ShadowSettings
from serving.platform import InferencePlatform, PlatformError, connect

_log = logging.getLogger(__name__)


def shadow(
    *,
    release_path: Path,
    events_dir: Path,
    settings: ShadowSettings,
    result_path: Path,
    report_path: Path,
) -> Comparison | None:
    """Let a candidate at 0 % answer requests beside the stable, and compare.

    Args:
        release_path: The deploy step's release.
        events_dir: Events; requests are sampled from the test split.
        settings: What to replay, and the limits.
        result_path: JSON file for the figures.
        report_path: HTML page for people.

    Returns:
        The figures; None when there was nothing to do: no requests were asked for, or the
        candidate is stable already.

    Raises:
        InputError: If the candidate must not meet users, after it has been rolled back and the
            figures are written; if it is not on trial; if the platform or the requests cannot be
            read.
    """
    candidate = read_candidate(release_path)
    try:
        platform = connect(candidate.platform, namespace=candidate.namespace)
        status = platform.status(candidate.service)
        stable = status.stable.name if status.stable else None
        if settings.requests == 0 or stable == candidate.revision:
            reason = "it is stable already" if stable == candidate.revision else "0 requests asked"
            _skip(reason, result_path, report_path)
            return None
        if status.canary is None or status.canary.name != candidate.revision:
            found = f"canary {status.canary.name}" if status.canary else "no canary"
            raise InputError(candidate.service, found, f"{candidate.revision} of the release")
        bodies = read_requests(events_dir, settings)
        revisions = [candidate.revision, *([stable] if stable else [])]
        answers = replay(
            platform,
            candidate.service,
            revisions=revisions,
            bodies=bodies,
            clients=settings.clients,
        )
        return _judge(platform, candidate, compare(answers), settings, result_path, report_path)
    except PlatformError as error:
        raise InputError(candidate.service, str(error), "a platform that answers") from error


def _judge(
    platform: InferencePlatform,
    candidate: Candidate,
    found: Comparison,
    settings: ShadowSettings,
    result_path: Path,
    report_path: Path,
) -> Comparison:
    objection = find_objection(found, settings)
    said = None if objection is None else str(objection)
    result = {"objection": said, **asdict(found), "mean_overlap": found.mean_overlap}
    _write(result_path, result | {"settings": asdict(settings)})
    write_report(report_path, candidate, found, settings=settings, objection=said)
    if objection is not None:
        platform.roll_back(candidate.service, reason=str(objection))
        where = f"{candidate.service}, {candidate.revision}"
        raise InputError(where, objection.found, objection.expected)
    overlap = "–" if found.mean_overlap is None else f"{found.mean_overlap:.3f}"
    _log.info(
        "shadow: %d requests, %d failed, mean overlap with the stable %s",
        found.candidate.requests,
        found.candidate.failed,
        overlap,
    )
    return found


def _skip(reason: str, result_path: Path, report_path: Path) -> None:
    _write(result_path, {"skipped": reason})
    write_skipped(report_path, reason)
    _log.info("shadow: skipped, %s", reason)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
