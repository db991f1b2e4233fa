import json
from pathlib import Path

import pytest
from kfp import dsl, local

from components.errors import InputError
from components.object_store import open_store
from components.study.records import Study
from components.study.space import Range
from components.train.checkpoint import Epoch
from components.train.curves import decisive
from components.tune.component import tune as tune_component
from components.tune.tune import tune

SPACE = {"dimension": Range(8, 64, log=True), "learning_rate": Range(1e-4, 0.1, log=True)}


def write_study(root: Path) -> Study:
    """Trial 0 reaches 0.2, trial 1 is pruned at 0.1, trial 2 reaches 0.3, trial 3 fails."""
    study = Study(open_store(str(root)), "abc")
    study.describe(SPACE)
    for number, (values, state) in enumerate(
        [([0.1, 0.2], "complete"), ([0.1], "pruned"), ([0.3, 0.25], "complete"), ([], "failed")]
    ):
        rate = 0.001 * (number + 1)
        study.claim(number, worker=0, parameters={"dimension": 8 + number, "learning_rate": rate})
        for epoch, value in enumerate(values, start=1):
            study.publish(number, epoch=epoch, value=value, seconds=1.0)
        study.end(number, state=state, reason="said <so>")  # type: ignore[arg-type]
    return study


def test_the_best_trial_and_what_was_not_searched(tmp_path: Path) -> None:
    study, page = write_study(tmp_path), tmp_path / "page.html"
    best = tune([study.uri] * 2, trials=4, hyperparameters='{"epochs": 2}', report_path=page)
    assert json.loads(best) == {"epochs": 2, "dimension": 10, "learning_rate": 0.003}
    html = page.read_text(encoding="utf-8")
    assert "Trial 2 of 4 is used: NDCG@10 0.3000 on eval, 0.2000 without tuning (+50.0%)" in html
    for shown in ("best so far", ">pruned<", "failed: said &lt;so&gt;", "Too few complete trials"):
        assert shown in html
    # One plot of the history and one for each hyper-parameter; nothing from outside.
    assert html.count("<svg") == 3
    assert "src=" not in html and 'href="http' not in html


def test_models_of_ratings_are_compared_by_their_rmse(tmp_path: Path) -> None:
    study, page = Study(open_store(str(tmp_path)), "abc"), tmp_path / "page.html"
    study.describe(SPACE)
    for number, rmse in enumerate((1.0, 0.9)):
        study.claim(number, worker=0, parameters={"dimension": 8, "learning_rate": 0.01})
        metric, value = decisive(
            Epoch(1.0, ndcg=0.5 - number / 10, seconds=1.0, labels=1, rmse=rmse)
        )
        study.publish(number, epoch=1, value=value, seconds=1.0, metric=metric)
        study.end(number, state="complete", reason="")
    tune([study.uri], trials=2, hyperparameters="{}", report_path=page)
    html = page.read_text(encoding="utf-8")
    assert "Trial 1 of 2 is used: −RMSE -0.9000 on eval, -1.0000 without tuning (+10.0%)" in html
    assert "NDCG" not in html


def test_nothing_better_than_the_start_is_said(tmp_path: Path) -> None:
    study = Study(open_store(str(tmp_path)), "abc")
    study.describe(SPACE)
    study.claim(0, worker=0, parameters={"dimension": 8, "learning_rate": 0.01})
    study.publish(0, epoch=1, value=0.2, seconds=1.0)
    study.end(0, state="complete", reason="")
    page = tmp_path / "page.html"
    assert json.loads(tune([study.uri], trials=1, hyperparameters="{}", report_path=page)) == {
        "dimension": 8,
        "learning_rate": 0.01,
    }
    assert "the one without tuning, nothing that was tried was better" in page.read_text("utf-8")


def test_an_unfinished_search_has_no_answer(tmp_path: Path) -> None:
    study, page = write_study(tmp_path), tmp_path / "page.html"
    for studies, trials, message in (
        ([study.uri], 5, "4 trials that have ended, expected at least 5"),
        ([study.uri, "elsewhere/abc"], 4, "expected one study, the same of all tasks"),
        ([], 4, "expected one study"),
        ([str(tmp_path / "nothing")], 4, "no study"),
    ):
        with pytest.raises(InputError, match=message):
            tune(studies, trials=trials, hyperparameters="{}", report_path=page)
    assert not page.exists()


def test_a_search_without_a_complete_trial_says_why(tmp_path: Path) -> None:
    study = Study(open_store(str(tmp_path)), "abc")
    study.describe(SPACE)
    study.claim(0, worker=0, parameters={"dimension": 8, "learning_rate": 0.01})
    study.end(0, state="failed", reason="a loss of nan")
    with pytest.raises(InputError, match=r"no complete trial .*\(failed: a loss of nan\)"):
        tune([study.uri], trials=1, hyperparameters="{}", report_path=tmp_path / "page.html")


def test_the_component_returns_it(tmp_path: Path) -> None:
    study = write_study(tmp_path)

    @dsl.pipeline(name="end-a-search")
    def pipeline(uri: str) -> str:
        ended = tune_component(studies=[uri], trials=4, hyperparameters="{}")
        return ended.outputs["Output"]

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "run"))
    done = pipeline(uri=study.uri)
    assert json.loads(done.output) == {"dimension": 10, "learning_rate": 0.003}
    assert "Search for hyper-parameters" in next(tmp_path.glob("run/*/*/tuning_report")).read_text(
        "utf-8"
    )
