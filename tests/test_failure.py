"""The line a dying step leaves in a pod; what it leaves on one machine is in tests/notify."""

import json
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
