"""The line a dying step leaves in a pod; what it leaves on one machine is in tests/notify."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from pathlib import Path
from components.errors import InputError
from components.failure import leave_failure
leave_failure(Path(sys.argv[-1]))
error = InputError("seed", "gs://b/x?token=1", "a number")
raise {"InputError": error, "KeyError": KeyError("user")}[sys.argv[-2]]
"""


@pytest.mark.parametrize("pod", ["", "train-1"])
@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("InputError", "seed: found gs://b/x, expected a number"),
        ("KeyError", "KeyError: 'user'"),
    ],
)
def test_in_a_pod_the_line_is_the_termination_message_and_the_log_shows_all(
    tmp_path, pod, kind, line
):
    outputs = tmp_path / "task" / "executor_output.json"
    given = json.dumps({"outputs": {"outputFile": str(outputs)}})
    (message := tmp_path / "termination").touch()
    words = [sys.executable, "-c", PROGRAM, "--executor_input", given, kind, str(message)]
    environment = {"KFP_POD_NAME": pod, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert ("?token=1" in done.stderr) == (kind == "InputError") and kind in done.stderr
    local = outputs.with_name("termination-log")
    assert (message if pod else local).read_text() == line
    assert message.read_text() == (line if pod else "")


STOPPED = """
import os, sys, time
from pathlib import Path
from components.failure import leave_failure
from components.termination import exiting_on_sigterm
__name__ = "components.toy"
leave_failure(Path(sys.argv[-1]))
def work():
    print("working", flush=True)
    time.sleep(60)
if sys.argv[-2] == "unwinds":
    with exiting_on_sigterm():
        work()
if sys.argv[-2] == "forks":
    if not (child := os.fork()):
        os.kill(os.getpid(), 15)
    os.waitpid(child, 0)
work()
"""


@pytest.mark.parametrize(("kind", "code"), [("dies", -15), ("unwinds", 143), ("forks", -15)])
def test_a_step_that_is_told_to_end_says_so_and_where_it_was(tmp_path, kind, code):
    given = json.dumps({"outputs": {"outputFile": str(tmp_path / "task" / "output.json")}})
    words = [sys.executable, "-c", STOPPED, "--executor_input", given, kind, "/nowhere"]
    line = tmp_path / "task" / "termination-log"
    with subprocess.Popen(words, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as step:
        assert step.stdout is not None and step.stdout.readline() == b"working\n"
        assert not line.exists()
        step.send_signal(signal.SIGTERM)
        assert step.wait(timeout=30) == code
    assert line.read_text() == "terminated by SIGTERM while in components.toy.work"
