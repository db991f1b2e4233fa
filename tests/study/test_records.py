import math
from pathlib import Path

import pytest

from components.errors import InputError
from components.object_store import open_store
from components.study.records import Study, best_trial
from components.study.space import Choices, Range
from tests.storage_server import running_storage

SPACE = {"dimension": Choices((8, 16)), "learning_rate": Range(0.0, 1.0)}


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    if request.param == "folder":
        yield str(tmp_path)
        return
    with running_storage("studies"):
        yield "gs://studies/some/where"


def test_what_one_worker_publishes_another_reads(root: str) -> None:
    one, two = (Study(open_store(root), "abc") for _ in range(2))
    one.describe(SPACE)
    assert two.space() == SPACE
    assert one.claim(0, worker=0, parameters={"dimension": 8})
    assert not two.claim(0, worker=1, parameters={"dimension": 16}), "it is taken"
    assert two.claim(1, worker=1, parameters={"dimension": 16})
    two.publish(1, epoch=1, value=0.3, seconds=1.5)
    two.publish(1, epoch=2, value=math.nan, seconds=1.5)
    assert [len(trial.values) for trial in one.trials()] == [0, 2]
    two.end(1, state="complete", reason="trained to its end")
    # Written once: a worker that was killed and says it again changes nothing.
    two.publish(1, epoch=1, value=0.9, seconds=9.0)
    two.end(1, state="failed", reason="again")
    first, second = Study(open_store(root), "abc").trials()
    assert (first.state, first.worker, dict(first.parameters)) == ("running", 0, {"dimension": 8})
    assert (second.state, second.best, second.seconds) == ("complete", 0.3, (1.5, 1.5))
    assert best_trial([first, second]) == second
    assert best_trial([first]) is None


def test_a_study_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study, expected one whose trials have run"):
        Study(open_store(str(tmp_path)), "abc").space()
