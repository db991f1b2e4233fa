"""What a person sees of a local run is read from kfp.local's log."""

import io

import pytest
from rich.console import Console

from pipelines.local import StepLog, step_progress

# As kfp 2.17 writes it, colours included.
LOG = """\
01:51:22.342 - INFO - Executing task \x1b[96m'ingest'\x1b[0m
    [KFP Executor 2026-11-24 01:51:22,624 INFO]: ingest: 12 events in
    [KFP Executor 2026-11-24 01:51:22,824 INFO]: HTTP Request: GET a library says so
01:51:24.342 - INFO - Task \x1b[96m'ingest'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
01:51:24.342 - INFO - Executing task \x1b[96m'train'\x1b[0m
    ValueError: an error that was raised on the way
    components.errors.InputError: hyperparameters: found 'x', expected one of a, b
01:51:25.342 - INFO - Task \x1b[96m'train'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
"""


@pytest.fixture
def read():
    """Read the log with a clock that advances one second a line."""
    console = Console(file=io.StringIO())
    with step_progress(console) as progress:
        log = StepLog(progress)
        for second, line in enumerate(LOG.splitlines()):
            log.read(line, float(second))
    return log, console.file.getvalue()


def test_each_step_has_its_wall_time(read):
    # ingest: lines 0 to 3, train: lines 4 to 7
    assert read[0].seconds == {"ingest": 3.0, "train": 3.0}


def test_the_failed_step_and_its_last_error_line_are_told(read):
    assert read[0].failed_step == "train"
    assert read[0].reason == "hyperparameters: found 'x', expected one of a, b"


def test_every_finished_step_is_a_line_on_the_console(read):
    lines = [line.split() for line in read[1].splitlines() if "ingest" in line or "train" in line]
    assert [(line[0], line[1]) for line in lines if line[0] in "✓✗"] == [
        ("✓", "ingest"),
        ("✗", "train"),
    ]


def test_a_finished_step_tells_what_it_said_last_and_nothing_of_its_libraries(read):
    assert "ingest: 12 events in" not in read[1]
    assert "12 events in" in read[1]
    assert "HTTP Request" not in read[1]
