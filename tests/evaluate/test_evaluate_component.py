"""The KFP component, run by kfp.local on the contents of what it writes."""

import json
from pathlib import Path

import pytest
from kfp import dsl, local

from components.checksum import tree_digest
from components.evaluate.component import evaluate


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_component_blesses_a_good_model_and_fills_its_outputs(
    shop: dict[str, Path], tmp_path: Path
) -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))

    @dsl.pipeline
    def alone(events: str, catalogue: str, model: str, platform: str) -> str:
        judged = evaluate(
            events=dsl.importer(artifact_uri=events, artifact_class=dsl.Dataset).output,
            catalogue=dsl.importer(artifact_uri=catalogue, artifact_class=dsl.Dataset).output,
            model=dsl.importer(artifact_uri=model, artifact_class=dsl.Model).output,
            service="recommender",
            platform=platform,
        )
        return judged.outputs["Output"]

    run = alone(
        events=str(shop["events"]),
        catalogue=str(shop["catalogue"]),
        model=str(shop["good"]),
        platform=f"local:{tmp_path / 'state'}",
    )
    assert run.output == "true"
    (blessing,) = (tmp_path / "root").rglob("blessing")
    (evaluation,) = (tmp_path / "root").rglob("evaluation")
    (page,) = (tmp_path / "root").rglob("evaluation_report")
    written = json.loads(blessing.read_text())
    assert written["blessed"] is True
    assert written["model_sha256"] == tree_digest(shop["good"])
    assert json.loads((evaluation / "metrics.json").read_text())["examples"] == 18
    assert "No model is in service yet" in page.read_text()
