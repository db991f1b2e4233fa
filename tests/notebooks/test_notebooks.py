"""Each notebook runs top to bottom in a fresh folder and shows what its checked-in outputs show.

The first and the third are also the test of two releases on real purchases: the second one's
canary beside live traffic, its promotion, and the way back.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest

from serving.platform import connect
from tests.notebooks.execute import NOTEBOOKS, SERVICE, STEPS, execute, fresh_folder

# A home, a temporary folder, or where a container keeps its work.
MACHINE_PATH = re.compile(r"(?<![\w/:.])/(home|root|tmp|work|Users|var|private|mnt|opt)/\w")


@pytest.fixture(scope="module")
def folder():
    """The folder of the first and the third notebook."""
    with fresh_folder() as found:
        yield found


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def checked_in(number):
    return nbformat.read(NOTEBOOKS[number - 1], as_version=4)


def shape(output):
    """What kind of output it is, and a table's columns."""
    data = output.get("data", {})
    columns = re.findall(r"<th>(.*?)</th>", data.get("text/html", ""))
    return output.output_type, output.get("name"), sorted(data), columns


def run(number, folder, **environment):
    """Execute a notebook and compare its outputs; returns what each cell printed, by its id."""
    done = execute(NOTEBOOKS[number - 1], folder, **environment)
    for new, old in zip(code_cells(done), code_cells(checked_in(number)), strict=True):
        assert list(map(shape, new.outputs)) == list(map(shape, old.outputs)), new.id
    return {
        cell.id: "".join(one.get("text", "") for one in cell.outputs) for cell in code_cells(done)
    }


def test_a_shop_s_own_data_become_a_served_recommender(folder):
    printed = run(1, folder)
    assert "unknown key events.columns.usr (did you mean user?)" in printed["config"]
    for part in ("The gate: blessed", "promoted", "curl -s", '{"predictions":[{"', '"items":["'):
        assert part in printed["release"]
    assert set(STEPS) <= set(re.findall(r"^✓ (\w+)", printed["release"], re.MULTILINE))
    status = connect(f"local:{folder / 'workspace' / 'serving'}").status(SERVICE)
    assert (status.canary, status.stable.ready) == (None, False), "it stopped what it started"


def test_a_second_release_is_a_canary_that_is_promoted_taken_back_and_brought_back(folder):
    printed = run(3, folder)
    workspace = folder / "workspace"
    # Users were served all along: no request failed while two revisions shared the traffic.
    assert re.search(r"by status \{200: \d+\};", printed["release"])
    found = workspace.glob("models/*/*/manifest.json")
    assert sorted(int(path.parent.name) for path in found) == [1, 2]
    outcomes = sorted(workspace.glob("runs/*/*/*/outcome"))
    outcome = json.loads(outcomes[-1].read_text(encoding="utf-8"))
    assert outcome["outcome"] == "promoted"
    log = connect(f"local:{workspace / 'serving'}").releases(SERVICE)
    # Released, released, back to 1, on trial and taken away, and 2 brought back by force.
    assert [(one.provenance.version, one.verdict) for one in log.releases] == [
        (1, "promoted"), (2, "rolled back"), (1, "rolled back"), (2, "rolled back"),
        (2, "promoted"),
    ]  # fmt: skip
    promoted = [event.why for event in log.releases[1].events if event.what == "promoted"]
    assert promoted == [outcome["reason"]]
    assert log.stable_release is log.releases[-1]
    runs = [one.provenance.run for one in log.releases[:2]]
    assert len(set(runs)) == 2 and all(runs) and not any("{{" in name for name in runs)


def test_the_client_s_functions_leave_one_version_one_run_and_one_schedule(folder, kfp_server):
    printed = run(2, folder, KF_PIPELINES_ENDPOINT=kfp_server.host)
    versions = list(kfp_server.stored["versions"].values())
    assert len(versions) == 2, "one of each content"
    done = [line.split()[0] for line in printed["run-and-wait"].splitlines() if "succeed" in line]
    assert done == list(STEPS)
    runs = list(kfp_server.stored["runs"].values())
    assert [one.runtime_config.parameters["seed"] for one in runs] == [2, 2]
    assert {one.pipeline_version_reference.pipeline_version_id for one in runs} == {
        versions[0].pipeline_version_id
    }
    made = [line for line in kfp_server.requests if line == "POST /apis/v2beta1/recurringruns"]
    assert len(made) == 2 and kfp_server.stored["recurringruns"] == {}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_checked_in_outputs_are_whole_small_and_name_no_place_of_a_machine(notebook: Path):
    text = notebook.read_text(encoding="utf-8")
    assert len(text) < 300_000
    cells = code_cells(nbformat.reads(text, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            data = output.get("data", {})
            shown = "\n".join([output.get("text", ""), *(data[k] for k in data if "text" in k)])
            assert MACHINE_PATH.search(shown) is None, cell.id
    assert sum("image/png" in one.get("data", {}) for cell in cells for one in cell.outputs)
