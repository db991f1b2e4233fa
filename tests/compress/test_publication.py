"""Compress, evaluate and package under `kfp.local`: what is refused is not published.

That one which passes is published is in tests/pipelines/test_recommender.py.
"""

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from kfp import dsl, local

from components.checksum import tree_digest
from components.evaluate.gate import Blessing
from components.package.component import package
from pipelines.release import compressed
from pipelines.step_settings import PipelineSettings
from tests.compress.conftest import ITEMS

USERS = 40
THRESHOLDS = '[{"kind": "at_least", "metric": "ndcg@10", "bound": 0.1}]'


@pytest.fixture(scope="module")
def made(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the steps before hand on; users buy what the trained model ranks first."""
    folder = tmp_path_factory.mktemp("made")
    random, start = np.random.default_rng(1), dt.datetime(2024, 1, 1)
    users = [f"u{n}" for n in range(USERS)]
    past = [[f"i{n}" for n in random.integers(ITEMS, size=4)] for _ in users]
    best = tf.saved_model.load(str(model_dir)).signatures["recommend"](
        user=tf.constant(users), history=tf.constant(past), k=tf.fill([USERS], np.int64(20))
    )["items"]
    # Every fourth, so that two items that change places change the NDCG.
    then = [[item.decode() for item in row[::4]] for row in best.numpy()]
    splits = {"train": [row[:3] for row in past], "eval": [row[3:] for row in past], "test": then}
    for day, (split, items) in enumerate(splits.items()):
        (folder / "events" / split).mkdir(parents=True)
        frame = pl.DataFrame({"user": users, "item": items}).explode("item")
        frame.with_columns(time=pl.lit(start + dt.timedelta(days=day))).write_parquet(
            folder / "events" / split / "part-0.parquet"
        )
    (folder / "catalogue").mkdir()
    names = [f"i{n}" for n in range(ITEMS)]
    pl.DataFrame({"item": names}).write_parquet(folder / "catalogue" / "part-0.parquet")
    (folder / "schema.pbtxt").write_text('feature { name: "user" type: BYTES }\n')
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "metrics.json").write_text('{"candidate/ndcg@10/overall": 1.0}')
    Blessing(True, tree_digest(model_dir), (), "trained").write(folder / "blessing.json")
    return folder


def publish(made: Path, model_dir: Path, folder: Path, *, max_drop: float) -> dict[str, Path]:
    """Run the part of the pipeline; return its artifacts by name, and the published version."""
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "root"))
    settings = PipelineSettings(max_retries=0)

    @dsl.pipeline
    def alone(
        model: str,
        blessing: str,
        evaluation: str,
        schema: str,
        events: str,
        catalogue: str,
        store: str,
        platform: str,
        max_drop: float,
    ) -> str:
        def given(uri: str, kind: type = dsl.Artifact) -> dsl.Artifact:
            return dsl.importer(artifact_uri=uri, artifact_class=kind).output

        trained, purchases = given(model, dsl.Model), given(events, dsl.Dataset)
        smaller = compressed(
            settings,
            model=trained,
            events=purchases,
            catalogue=given(catalogue, dsl.Dataset),
            thresholds=THRESHOLDS,
            table_format="int8",
            max_drop=max_drop,
            beam_options=[],
            service="shop",
            platform=platform,
            namespace="default",
        )
        published = package(
            model=trained,
            blessing=given(blessing),
            evaluation=given(evaluation),
            **smaller,
            schema=given(schema),
            events=purchases,
            store_uri=store,
            name="shop",
            run_id="test",
        )
        return published.outputs["Output"]

    run = alone(
        model=str(model_dir),
        blessing=str(made / "blessing.json"),
        evaluation=str(made / "evaluation"),
        schema=str(made / "schema.pbtxt"),
        events=str(made / "events"),
        catalogue=str(made / "catalogue"),
        store=str(folder / "models"),
        platform=f"local:{folder / 'state'}",
        max_drop=max_drop,
    )
    names = ("smaller", "blessing", "compress_report", "evaluation_report")
    found = {name: next((folder / "root").rglob(name)) for name in names}
    return found | {"published": Path(run.output)}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_smaller_model_that_loses_too_much_is_refused_and_the_trained_one_published(
    made, model_dir, tmp_path
):
    found = publish(made, model_dir, tmp_path, max_drop=0.0)
    page = found["compress_report"].read_text()
    assert re.search("TFLite: not possible because .*SparseTensorDenseMatMul", page)
    assert 'src="http' not in page and 'href="http' not in page
    assert "model it was made of" in found["evaluation_report"].read_text()
    blessing = json.loads(found["blessing"].read_text())
    assert not blessing["blessed"]
    assert "no more than 0 below the reference model: lower bound" in blessing["reason"]
    manifest = json.loads((found["published"] / "manifest.json").read_text())
    assert manifest["model_sha256"] == tree_digest(model_dir)
    assert manifest["blessing"]["reason"] == "trained"
