"""The whole pipeline, in real processes, on the synthetic shop: refused, killed.

Releases and their successors are in tests/docs and tests/notebooks.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from pipelines.configs import config_parameter
from pipelines.local import run_locally
from pipelines.traffic import TrafficReplay
from pipelines.visits import Visit
from serving.platform import connect
from tests.shop import USER_BEHAVIOR, make_shop

ROOT = Path(__file__).parents[2]
PIPELINE = ("pipelines.recommender", "recommender")
SERVICE = "shop"
# The planted structure is worth far more than this; shuffled labels are worth nothing.
THRESHOLDS = json.dumps(
    [{"kind": "beats", "metric": "ndcg@10", "baseline": "popularity", "bound": 0.05}]
)
QUICK = json.dumps({"epochs": 4})


def arguments(shop, workspace, **others):
    return {
        "dataset": config_parameter("user_behavior"),
        "events_uri": str(shop.behaviour),
        "catalogue_uri": str(shop.items),
        "hyperparameters_1": QUICK,
        "hyperparameters_2": QUICK,
        "hyperparameters_3": QUICK,
        "thresholds": THRESHOLDS,
        "checkpoint_root": str(workspace / "checkpoints"),
        "store_uri": str(workspace / "models"),
        "service": SERVICE,
        "platform": platform_of(workspace),
        "rollout_min_requests": 40,
        "rollout_poll_s": 0.5,
    } | others


def platform_of(workspace):
    return f"local:{workspace / 'serving'}"


def run(shop, workspace, **others):
    """One run beside live traffic; the console is returned with it."""
    console = Console(file=io.StringIO(), width=200)
    traffic = replay(shop, workspace)
    with traffic:
        done = run_locally(
            PIPELINE, arguments(shop, workspace, **others), workspace=workspace, console=console
        )
    return done, traffic


def replay(shop, workspace):
    return TrafficReplay(lambda: visits(shop), platform=platform_of(workspace), service=SERVICE)


def visits(shop):
    users = (
        pl.scan_csv(shop.behaviour)
        .sort("timestamp")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_id").tail(10))
        .collect()
    )
    return [
        Visit(user, tuple(items), frozenset(items[-1:]))
        for user, items in users.iter_rows()
        if user is not None
    ]


def published(workspace):
    return sorted(int(path.parent.name) for path in workspace.glob("models/*/*/manifest.json"))


def processes_of(workspace):
    """Command lines of live processes that name the workspace."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(workspace) in command and int(path.parent.name) != os.getpid():
            found.append(command)
    return found


@pytest.fixture
def workspace(tmp_path):
    """A folder whose service is stopped when the test is over."""
    yield tmp_path
    connect(platform_of(tmp_path)).delete(SERVICE)


def test_a_wrong_config_is_one_line_before_anything_starts(tmp_path):
    config = tmp_path / "shop.yaml"
    config.write_text(USER_BEHAVIOR.read_text("utf-8").replace("user: user_id", "usr: user_id"))
    command = [sys.executable, "-m", "pipelines", "local", "--dataset", str(config)]
    command += ["--events", "log.csv", "--catalogue", "items.csv", "--workspace", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {config}") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shop.yaml"]


def test_a_policy_that_cannot_be_is_one_line_before_anything_starts(tmp_path):
    for words, wrong in (
        (["--on-timeout", "never"], "on_timeout: found 'never'"),
        (["--max-business-drop", "2"], "max_business_drop: found 2.0"),
        (["--compress", "int4"], "compress: found 'int4', expected none, float16 or int8"),
        (["--beam-option=--runer=x"], "beam_options: found --runer"),
        (["--compress-max-drop", "-1"], "compress_max_drop: found -1.0"),
    ):
        command = [sys.executable, "-m", "pipelines", "local", "--dataset", str(USER_BEHAVIOR)]
        command += ["--events", "log.csv", "--catalogue", "items.csv"]
        command += ["--workspace", str(tmp_path), *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {wrong}") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_shuffled_labels_is_refused_three_times_and_nothing_is_deployed(
    tmp_path_factory, workspace
):
    shop = make_shop(tmp_path_factory.mktemp("shop"), seed=1, shuffled=True)
    # A search is no way around the gate: the best of four of them is a model of nothing, too.
    space = json.dumps({"learning_rate": {"low": 0.001, "high": 0.01}})
    few = json.dumps({"epochs": 1})
    done, _ = run(shop, workspace, hyperparameters_1=few, tune_trials=4, search_space=space)
    assert done.failed_step == "refuse"
    assert "all 3 attempts" in done.reason
    assert "ndcg@10" in done.reason
    told = json.loads(done.artifact("notice").read_text("utf-8"))
    assert (told["state"], told["failed_step"], told["reason"]) == ("FAILED", "refuse", done.reason)
    assert told["rollout"]["outcome"] == "refused"
    steps = list(done.seconds)
    assert [s.split("-")[0] for s in steps].count("train") == 3
    assert [s for s in steps if s in ("plan-trials", "trials", "tune", "keep")] == [
        "plan-trials", "trials", "tune",
    ]  # fmt: skip
    assert len(list(workspace.glob("models/_studies/*/trials/*/end.json"))) == 4
    assert " of 4 is used" in done.artifact("tuning_report").read_text(encoding="utf-8")
    tuned = json.loads((done.folder / "tune" / "executor_output.json").read_text("utf-8"))
    first = json.loads(tuned["parameterValues"]["Output"])
    page = (done.folder / "train" / "training_report").read_text(encoding="utf-8")
    assert first["epochs"] == 1 and str(first["learning_rate"]) in page
    assert not any(s.startswith(("package", "deploy", "shadow", "rollout")) for s in steps)
    assert published(workspace) == []
    # No call reached the platform: it makes its folder with the first one that changes anything.
    assert not (workspace / "serving").exists()


def test_killed_at_every_step_it_starts_again_cleanly(tmp_path_factory, workspace):
    """One workspace, killed with SIGKILL in step after step, then run to the end.

    Package is killed at any moment in tests/package.
    """
    shop = make_shop(tmp_path_factory.mktemp("shop"), seed=1)
    # How good the model is does not matter here, and it is trained seven times.
    quick = {
        "model_name": "matrix_factorization",
        "hyperparameters_1": json.dumps({"epochs": 1}),
        "thresholds": json.dumps([{"kind": "at_least", "metric": "ndcg@10", "bound": 0.0}]),
    }
    program = (
        "import json, sys; from pathlib import Path; from rich.console import Console\n"
        "from pipelines.local import run_locally\n"
        "run_locally(('pipelines.recommender', 'recommender'), json.load(sys.stdin),"
        " workspace=Path(sys.argv[1]), console=Console())"
    )
    for step in (
        "ingest",
        "preprocess",
        "train",
        "evaluate",
        "deploy",
        "shadow",
        "rollout",
    ):
        earlier = set(workspace.glob("runs/*"))
        with subprocess.Popen(
            [sys.executable, "-c", program, str(workspace)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as pipeline:
            json.dump(arguments(shop, workspace, **quick), pipeline.stdin)
            pipeline.stdin.close()
            wait_for(workspace, step, pipeline, earlier=earlier)
            # Far enough into the step for its imports to be over and its work to have begun.
            time.sleep(2.5)
            os.kill(pipeline.pid, signal.SIGKILL)
        # A step that had just been started ends when it has imported enough to see it is alone.
        deadline = time.monotonic() + 60
        while running := [c for c in processes_of(workspace) if "executor_main" in c]:
            assert time.monotonic() < deadline, (step, running)
            time.sleep(0.1)
        assert len(published(workspace)) <= 1, step
    done, traffic = run(shop, workspace, **quick)
    assert done.failed_step is None, done.reason
    status = connect(platform_of(workspace)).status(SERVICE)
    assert status.canary is None
    assert status.stable.ready
    # A first release that was killed has no stable revision behind it while it is tried again.
    assert set(traffic.responses) <= {200, 503}
    with replay(shop, workspace) as after:
        time.sleep(3)
    assert set(after.responses) == {200}
    assert len(published(workspace)) == 1, "the same data and seed give the same model, once"
    servers = [c for c in processes_of(workspace) if "serving.predictor" in c]
    assert len(servers) == 1, servers
    assert set(workspace.glob("checkpoints/*/*")) == set(), "a training that ended keeps none"


def wait_for(workspace, step, process, *, earlier):
    """Wait until the run that is not among the earlier ones begins a step."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for run_folder in set(workspace.glob("runs/*")) - earlier:
            log = run_folder / "run.log"
            if log.is_file() and re.search(rf"Executing task \S*{step}", log.read_text("utf-8")):
                return
        assert process.poll() is None, f"the pipeline ended before {step}"
        time.sleep(0.1)
    raise AssertionError(f"{step} did not begin within 300 s")
