"""Which step failed a run, and why: from its Argo workflow, and from its folder."""

import base64
import gzip
import json
import os

import pytest

from components.failure import public_line
from components.notify.ending import (
    Ending,
    ending_of_folder,
    ending_of_workflow,
    read_state,
)
from tests.pipelines.argo import workflow

BODY, HOOK = "exit-handler-1", "exit-handler-1.onExit"
LINE = "hyperparameters_1: found 'x', expected one of a, b"


def ended(phase: str, *steps: tuple[str, str], messages: tuple[str, ...] = ()) -> dict:
    """A run in whose exit handler we are: the body has this phase, the hook goes on."""
    inside = [(f"{BODY}.{name}", how) for name, how in steps]
    hook = [(HOOK, "Running"), (f"{HOOK}.notify-driver", "Succeeded")]
    found = workflow(*inside, *hook, (f"{HOOK}.notify.executor", "Running"), messages=messages)
    body = workflow((BODY, phase))["status"]["nodes"].pop("0")
    found["status"]["nodes"]["body"] = body | {"message": "child failed"}
    return found


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"main: Error (exit code 1): {LINE}\n", LINE),
        ("main: Error (exit code 1)", "main: Error (exit code 1)"),
        (
            "main: OOMKilled (exit code 137)",
            "main: OOMKilled (exit code 137): it needed more memory than its limit",
        ),
        ("pod deleted", "pod deleted"),
        ("Pod was active on the node longer than the specified deadline",) * 2,
    ],
)
def test_the_step_that_no_attempt_saved_failed_the_run_with_its_own_line(message, reason):
    found = ended(
        "Failed",
        ("ingest.executor(0)", "Failed"),
        ("ingest.executor(1)", "Succeeded"),
        ("condition-1.train.executor(0)", "Failed"),
        ("condition-1.train.executor(1)", "Failed"),
        ("preprocess.executor", "Failed"),
        messages=("first attempt", "first attempt", message, "later"),
    )
    # KFP's own word may be behind: it learns of a step that was killed from nobody.
    for told in ("FAILED", "UNKNOWN", "SUCCEEDED"):
        assert ending_of_workflow(found, told) == Ending("FAILED", "train", reason)
    nodes = json.dumps(found["status"].pop("nodes")).encode()
    found["status"]["compressedNodes"] = base64.b64encode(gzip.compress(nodes)).decode()
    assert ending_of_workflow(found, "UNKNOWN").failed_step == "train"


def test_a_run_that_succeeded_in_the_end_has_no_failing_step():
    found = ended(
        "Succeeded", ("ingest.executor(0)", "Failed"), ("ingest.executor(1)", "Succeeded")
    )
    assert ending_of_workflow(found, "UNKNOWN") == Ending("SUCCEEDED")


def test_a_step_that_never_got_a_pod_fails_with_its_drivers_message():
    found = ended("Failed", ("train-driver", "Failed"), messages=("main: Error (exit code 1): no",))
    assert ending_of_workflow(found, "UNKNOWN") == Ending("FAILED", "train", "no")


def test_what_nobody_says_is_no_success():
    assert ending_of_workflow(ended("Running"), read_state("RUNNING")) == Ending("UNKNOWN")
    states = ("SUCCEEDED", "COMPLETE", "FAILED", "CANCELED", "RUNNING", "")
    assert [read_state(state) for state in states] == [
        "SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED", "UNKNOWN", "UNKNOWN",
    ]  # fmt: skip


def test_locally_the_first_line_counts_and_then_the_first_step_without_outputs(tmp_path):
    for age, name in enumerate(("train", "ingest", "deploy", "notify", "evaluate")):
        (tmp_path / name).mkdir()
        if name not in ("deploy", "evaluate", "notify"):
            (tmp_path / name / "executor_output.json").write_text("{}")
        os.utime(tmp_path / name, (age, age))
    killed = ending_of_folder(tmp_path, "FAILED", own="notify")
    assert (killed.failed_step, killed.reason[:20]) == ("deploy", "it was ended before ")
    (tmp_path / "evaluate" / "termination-log").write_text(LINE)
    assert ending_of_folder(tmp_path, "FAILED", own="notify") == Ending("FAILED", "evaluate", LINE)
    assert ending_of_folder(tmp_path, "SUCCEEDED", own="notify") == Ending("SUCCEEDED")
    assert ending_of_folder(tmp_path / "none", "FAILED", own="notify") == Ending("FAILED")


def test_a_line_loses_what_is_not_for_everybody():
    text = "GET https://me:pw@host/a?key=1, redis://:pw@r:6379/0\nof jo.do@shop.example: no"
    shown = "GET https://host/a, redis://r:6379/0 of (e-mail address): no"
    assert public_line(text) == shown
    assert len(public_line("x" * 5000)) == 1000
