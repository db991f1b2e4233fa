"""`run --wait`, `runs` and `logs`: what became of a run, step by step."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.errors import InputError
from pipelines.__main__ import app
from tests.pipelines.argo import POD, WORKFLOW, task

GOLDEN = Path(__file__).parents[1] / "golden" / "recommender.yaml"
RUN = ["run", str(GOLDEN), "-p", "events_uri=e", "-p", "catalogue_uri=c", "-p", "store_uri=s"]
WAIT = [*RUN, "--wait", "--poll-s", "0.1"]


BEGUN = [
    task("shop-x1", "RUNNING", 1),
    task("root", "RUNNING", 1),
    task("condition-branches-1", "SUCCEEDED", 2, 3),
    task("ingest-driver", "SUCCEEDED", 2, 3),
]
INGESTED = [*BEGUN, task("ingest", "SUCCEEDED", 4, 11), task("executor(1)", "SUCCEEDED", 5, 11)]


@pytest.fixture
def run_id(server, cli):
    """A run that has been started."""
    cli(*RUN)
    return list(server.stored["runs"])[-1]


def wait(server):
    """Start a run and wait for it; returns (exit code, standard output, standard error)."""
    done = CliRunner().invoke(app, WAIT, env={"KF_PIPELINES_ENDPOINT": server.host})
    return done.exit_code, done.stdout, done.stderr


def test_waiting_shows_each_step_once_and_not_what_argo_does_beside_it(server):
    server.reports = [
        ("PENDING", []),
        ("RUNNING", [*BEGUN, task("ingest", "RUNNING", 4)]),
        ("RUNNING", [*INGESTED, task("train", "RUNNING", 12)]),
        ("SUCCEEDED", [*INGESTED, task("train", "SUCCEEDED", 12, 14)]),
    ]
    code, output, _ = wait(server)
    assert code == 0
    shown = [line.split() for line in output.splitlines() if line.startswith("✓")]
    assert shown == [["✓", "ingest", "7.0", "s"], ["✓", "train", "2.0", "s"]]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("ValueError: before\ncomponents.errors.InputError: seed: found x\nbye\n", "seed: found x"),
        ("Killed\n", "main: Error (exit code 1)"),  # what Argo says, where the log says nothing
        (None, "main: Error (exit code 1)"),
    ],
)
def test_a_failed_run_is_exit_code_1_with_the_step_and_its_reason(server, log, reason):
    server.reports = [("FAILED", [*INGESTED, task("train", "FAILED", 12, 14)])]
    server.workflow = WORKFLOW
    if log is not None:
        server.logs[f"{POD}-4"] = log
    code, output, errors = wait(server)
    assert code == 1
    assert "✗ train" in output
    assert errors.strip().endswith(f"failed at train: {reason}")


def test_a_canceled_run_is_no_success(server):
    server.reports = [("CANCELED", INGESTED)]
    code, _, errors = wait(server)
    assert code == 1
    assert "canceled" in errors


def test_a_server_that_restarts_is_asked_again_and_one_that_refuses_is_not(server, cli):
    server.reports = [("RUNNING", []), ("", []), ("", []), ("SUCCEEDED", INGESTED)]
    assert wait(server)[0] == 0
    server.reports = [("", [])]
    with pytest.raises(InputError, match="HTTP 503"):
        cli(*WAIT)


def test_runs_lists_the_newest_first_up_to_the_limit(server, cli):
    for name in ("first", "second", "third", "fourth"):
        cli(*RUN, "--name", name)
    rows = [line for line in cli("runs", "--limit", 3).splitlines() if "pending" in line]
    assert [row.split()[1] for row in rows] == ["fourth", "third", "second"]
    assert list(server.stored["runs"])[-1] in rows[0]


def test_logs_are_those_of_the_steps_last_attempt(server, cli, run_id):
    server.workflow = WORKFLOW
    server.logs |= {f"{POD}-1": "first attempt\n", f"{POD}-2": "second attempt\n"}
    assert cli("logs", run_id, "ingest") == "second attempt\n"


def test_a_step_that_is_not_there_is_told_with_those_that_are(server, cli, run_id):
    server.workflow = WORKFLOW
    with pytest.raises(InputError, match="no started step 'deploy', expected one of: ingest, tr"):
        cli("logs", run_id, "deploy")
    with pytest.raises(InputError, match="HTTP 404"):
        cli("logs", "no-such-run", "ingest")


def test_a_log_that_is_nowhere_is_told(server, cli, run_id, monkeypatch):
    server.workflow = WORKFLOW
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(InputError, match=f"pod kubeflow/{POD}-4: found .* no log .* nor in Kube"):
        cli("logs", run_id, "train")
