"""The log of a service's releases: what it says of each, and what it forgets."""

import json
from dataclasses import asdict

import pytest

from serving.platform import PlatformError, Provenance
from serving.platform.releases import (
    KEPT_BYTES,
    KEPT_EVENTS,
    KEPT_RELEASES,
    ReleaseLog,
    parse_log,
)

BY = {"at": "2026-01-01T00:00:00+00:00", "by": "ci"}


def opened(log: ReleaseLog, version: int, *, settings: str = "", **provenance) -> ReleaseLog:
    """The log with a release of this version on trial."""
    uri = f"gs://models/shop/{version}"
    return log.opened(
        {"spec": {"settings": settings}},
        Provenance(version, run=f"run-{version}", **provenance),
        digest=str(version),
        storage_uri=uri,
        **BY,
    )


def promoted(log: ReleaseLog, version: int, **options) -> ReleaseLog:
    return opened(log, version, **options).noted("promoted", why="every step passed", **BY)


def test_a_release_tells_its_run_who_deployed_it_and_why_it_was_promoted_or_rolled_back():
    log = promoted(ReleaseLog(), 1)
    log = opened(log, 2).noted("traffic", why="5 %", revision="shop-2", **BY)
    assert (log.on_trial.verdict, log.on_trial.revision, log.stable) == ("on trial", "shop-2", 1)
    log = log.noted("rolled_back", why="5 %\n of errors", **BY)
    first, second = log.releases
    assert (first.verdict, first.decided.why) == ("promoted", "every step passed")
    assert (second.verdict, second.decided.why) == ("rolled back", "5 % of errors")
    assert (second.provenance.run, second.events[0].by, second.number) == ("run-2", "ci", 2)
    assert (log.stable_release, log.on_trial) == (first, None)
    # Nothing is on trial now: what comes late changes no verdict.
    assert log.noted("promoted", **BY) == log
    assert parse_log(json.loads(json.dumps(asdict(log)))) == log


def test_the_same_trial_once_more_is_no_other_release_and_another_one_replaces_it():
    log = opened(opened(ReleaseLog(), 1), 1)
    assert [event.why for event in log.releases[0].events] == ["", "once more"]
    log = opened(log, 2)
    assert [one.verdict for one in log.releases] == ["replaced", "on trial"]
    assert log.releases[0].decided.why == "by release 2"


def test_a_way_back_that_is_promoted_condemns_the_release_it_leaves():
    log = promoted(promoted(ReleaseLog(), 1), 2)
    log = opened(log, 1, back_to=1, reason="back to version 1: wrong prices")
    assert [one.verdict for one in log.releases] == ["promoted", "promoted", "on trial"]
    log = log.noted("promoted", why="back to version 1: wrong prices", **BY)
    assert [one.verdict for one in log.releases] == ["promoted", "rolled back", "promoted"]
    assert log.releases[1].decided.why == "back to version 1: wrong prices"
    assert log.stable_release.provenance.version == 1


def test_years_of_releases_fit_and_those_forgotten_are_counted():
    log = promoted(ReleaseLog(), 0)
    for version in range(1, 1 + 2 * KEPT_RELEASES):
        log = opened(log, version).noted("rolled_back", why="x" * 1000, **BY)
    assert len(log.releases) == KEPT_RELEASES
    assert log.forgotten == 1 + 2 * KEPT_RELEASES - KEPT_RELEASES
    # The stable one is never forgotten; the others are the newest, and no number comes twice.
    assert log.stable_release.provenance.version == 0
    newest = range(2 * KEPT_RELEASES, KEPT_RELEASES + 1, -1)
    assert [one.number - 1 for one in log.releases[:0:-1]] == list(newest)
    assert log.releases[-1].decided.why == "x" * 499 + "…"


def test_large_settings_and_restless_rollouts_leave_fewer_releases_never_a_larger_record():
    log = ReleaseLog()
    for version in range(30):
        log = promoted(log, version, settings="x" * 50_000)
    assert len(json.dumps(asdict(log))) < KEPT_BYTES + 1000
    assert (len(log.releases) + log.forgotten, len(log.releases)) == (30, 13)
    log = opened(log, 99)
    for look in range(10 * KEPT_EVENTS):
        log = log.noted("traffic", why=f"{look} %", **BY)
    events = log.on_trial.events
    assert (events[0].what, events[-1].why, len(events)) == ("deployed", "499 %", KEPT_EVENTS)
    assert log.on_trial.forgotten_events == 1 + 500 - KEPT_EVENTS


@pytest.mark.parametrize("broken", [{}, {"releases": [{}]}, {"releases": 7}])
def test_log_that_is_none_is_refused(broken):
    with pytest.raises(PlatformError, match="release record: found"):
        parse_log({"stable": None, "forgotten": 0, **broken} if broken else {})
