"""A search on the planted shop: better than its start, pruned, killed and continued."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.errors import InputError
from components.study.records import Trial, best_trial, open_study
from components.train.settings import TrainSettings
from components.train.trials.settings import SearchSettings, plan_workers
from components.train.trials.worker import run_trials

ROOT = Path(__file__).parents[2]
TRIALS = 10
# Far too small a step to learn the planted tastes in three epochs.
START = {"epochs": 3, "patience": 3, "batch_baskets": 256, "gap_days": 0, "learning_rate": 1e-4}
SPACE = {
    "learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
    "dimension": {"low": 4, "high": 64, "log": True},
}


def search_settings(**others: Any) -> SearchSettings:
    settings = TrainSettings(model="matrix_factorization", hyperparameters=json.dumps(START))
    given = {"train": settings, "space": json.dumps(SPACE), "trials": TRIALS} | others
    return SearchSettings(**given)


def search(prepared: Any, root: Path, *, worker: int = 0, workers: int = 1, **others: Any) -> str:
    return run_trials(
        **prepared.inputs,
        search=search_settings(**others),
        study_root=str(root / "studies"),
        checkpoint_root=str(root / "checkpoints"),
        worker=worker,
        workers=workers,
    )


def trials_of(uri: str) -> list[Trial]:
    return open_study(uri).trials()


def what_came_of(trials: list[Trial]) -> list[Any]:
    return [(o.number, o.parameters, o.values, o.state, o.reason) for o in trials]


@pytest.fixture(scope="module")
def whole(shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study that ran from beginning to end, in this process."""
    return search(shop_artifacts, tmp_path_factory.mktemp("whole"))


def test_the_planted_better_learning_rate_is_found(whole: str) -> None:
    trials = trials_of(whole)
    best = best_trial(trials)
    assert len(trials) == TRIALS and best is not None
    assert dict(trials[0].parameters) == {"learning_rate": 1e-4, "dimension": 64}
    # The start gives every user the popular items; a larger step finds the tastes.
    assert best.best > 2 * trials[0].best
    assert best.parameters["learning_rate"] > 10 * START["learning_rate"]


def test_hopeless_trials_are_given_up_early(whole: str) -> None:
    trials = trials_of(whole)
    pruned = [one for one in trials if one.state == "pruned"]
    assert pruned
    # What is trained to its end saves nothing by being called hopeless.
    assert all(one.state == "complete" for one in trials if len(one.values) == START["epochs"])
    for one in pruned:
        assert len(one.values) < START["epochs"] and one.reason.startswith("below the median")
        assert one.best < max(other.best for other in trials)


def test_killed_in_the_middle_it_goes_on_to_the_same_best(
    shop_artifacts: Any, whole: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "components.train.trials", "--trials", str(TRIALS)]
    for name, path in shop_artifacts.inputs.items():
        command += [f"--{name.replace('_', '-')}", str(path)]
    command += ["--study-root", str(tmp_path / "studies"), "--model", "matrix_factorization"]
    command += ["--checkpoint-root", str(tmp_path / "checkpoints")]
    command += ["--hyperparameters", json.dumps(START), "--search-space", json.dumps(SPACE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        # Trial 4 has published an epoch and has not ended.
        while not list(tmp_path.glob("studies/*/trials/0004/epoch-001.json")):
            assert first.poll() is None
            time.sleep(0.01)
        first.kill()
    ended = {path: path.stat() for path in tmp_path.glob("studies/*/trials/*/end.json")}
    assert 4 <= len(ended) < TRIALS
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    began = [line for line in done.stderr.splitlines() if " begins with " in line]
    assert len(began) == TRIALS - len(ended)
    for path, before in ended.items():
        assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert what_came_of(trials_of(done.stdout.strip())) == what_came_of(trials_of(whole))
    assert not list(tmp_path.glob("checkpoints/*")), "a trial that ended keeps none"


def test_two_tasks_share_the_trials_and_a_larger_study_goes_on(
    shop_artifacts: Any, tmp_path: Path
) -> None:
    for worker in (1, 0):
        uri = search(shop_artifacts, tmp_path, worker=worker, workers=2, trials=1 + worker)
    assert [(one.number, one.worker) for one in trials_of(uri)] == [(0, 1), (1, 1)]
    # A third trial of a task that is gone belongs to the one that is left.
    open_study(uri).claim(2, worker=1, parameters={"learning_rate": 0.01, "dimension": 8})
    assert search(shop_artifacts, tmp_path, trials=3) == uri
    assert [(o.worker, o.state) for o in trials_of(uri)][2] == (1, "complete")


def test_hyper_parameters_that_cannot_be_trained_do_not_end_the_search(
    shop_artifacts: Any, tmp_path: Path
) -> None:
    space = json.dumps({"learning_rate": {"choices": [1e30]}})
    uri = search(shop_artifacts, tmp_path, space=space, trials=2)
    first, second = trials_of(uri)
    assert (first.state, second.state) == ("complete", "failed")
    assert second.reason.startswith("training: found a loss of")


def test_a_wrong_search_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match="search_space units: found an unknown name"):
        plan_workers(search_settings(space='{"units": {"low": 1, "high": 2}}'), parallel=2)
    with pytest.raises(InputError, match="trials: found 0"):
        search_settings(trials=0)
    with pytest.raises(InputError, match="parallel: found 0"):
        plan_workers(search_settings(), parallel=0)
    assert plan_workers(search_settings(trials=3), parallel=8) == [0, 1, 2]
