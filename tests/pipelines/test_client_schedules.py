"""`schedule`: one recurring run of each name, whatever is asked for how often."""

from pathlib import Path

import pytest

from components.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "recommender.yaml"
APPLY = [
    "schedule", "apply", GOLDEN, "-p", "events_uri=e", "-p", "catalogue_uri=c", "-p", "store_uri=s",
]  # fmt: skip


@pytest.fixture
def schedules(server):
    """The recurring runs the server has now."""
    return server.stored["recurringruns"]


def test_twice_leaves_one_and_a_change_replaces_it(server, cli, schedules):
    assert "created, running" in cli(*APPLY, "--cron", "0 3 * * *")
    (first,) = schedules.values()
    assert "unchanged, running" in cli(*APPLY, "--cron", "0 3 * * *")
    assert list(schedules.values()) == [first]
    assert first.trigger.cron_schedule.cron == "0 0 3 * * *"
    assert (first.no_catchup, first.max_concurrency, first.mode) == (True, "1", "ENABLE")

    assert "replaced, running" in cli(*APPLY, "--cron", "0 3 * * *", "-p", "seed=2")
    (second,) = schedules.values()
    assert second.runtime_config.parameters["seed"] == 2
    assert "replaced" in cli(*APPLY, "--every", "12h", "-p", "seed=2", "--catch-up")
    (third,) = schedules.values()
    assert third.trigger.periodic_schedule.interval_second == "43200"
    assert (third.trigger.cron_schedule, third.no_catchup) == (None, False)


def test_a_new_version_of_the_pipeline_replaces_the_schedule(server, cli, schedules, tmp_path):
    cli(*APPLY, "--every", "1d")
    file = tmp_path / "recommender.yaml"
    file.write_text(GOLDEN.read_text().replace(":0.1.0", ":0.2.0"))
    cli(*[file if word is GOLDEN else word for word in APPLY], "--every", "1d")
    (one,) = schedules.values()
    version = server.stored["versions"][one.pipeline_version_reference.pipeline_version_id]
    assert ":0.2.0" in str(version.pipeline_spec)


def test_what_was_stopped_stays_stopped_until_it_is_started(cli, schedules):
    cli(*APPLY, "--every", "1d")
    cli("schedule", "stop", "shopflow-recommender")
    assert "unchanged, stopped" in cli(*APPLY, "--every", "1d")
    assert "replaced, stopped" in cli(*APPLY, "--every", "2d")
    assert "stopped" in cli("schedule", "list")
    cli("schedule", "start", "shopflow-recommender")
    (one,) = schedules.values()
    assert one.mode == "ENABLE"
    assert "running" in cli("schedule", "list")


def test_what_a_cut_off_change_left_is_taken_away(server, cli, schedules):
    cli(*APPLY, "--every", "1d")
    for left in ("a", "b"):
        cli(*APPLY, "--every", "2d", "--name", left)
    for one in schedules.values():
        one.display_name = "shopflow-recommender"
    assert len(schedules) == 3
    cli(*APPLY, "--every", "2d")
    (one,) = schedules.values()
    assert one.trigger.periodic_schedule.interval_second == "172800"


def test_another_name_is_another_schedule_and_delete_takes_one(cli, schedules):
    cli(*APPLY, "--every", "1d")
    cli(*APPLY, "--every", "1d", "--name", "weekly")
    cli("schedule", "delete", "weekly")
    assert [one.display_name for one in schedules.values()] == ["shopflow-recommender"]
    with pytest.raises(InputError, match="found none named 'weekly'"):
        cli("schedule", "delete", "weekly")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--cron", "0 0 30 2 *"], "--cron: found '0 0 30 2 \\*', which never fires"),
        (["--cron", "0 3 * *"], "with 4 fields, expected 5 or 6 fields"),
        (["--cron", "0 24 * * *"], "hour '24'"),
        (["--cron", "0 3 * * *", "--every", "1d"], "found both --cron and --every"),
        ([], "found neither --cron nor --every"),
        (["--every", "0h"], "--every: found '0h'"),
        (["--every", "daily"], "--every: found 'daily'"),
    ],
)
def test_a_time_that_never_comes_is_told_before_anything_is_sent(server, cli, options, line):
    with pytest.raises(InputError, match=line):
        cli(*APPLY, *options)
    assert server.requests == []
