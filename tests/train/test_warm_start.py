import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.checksum import file_sha256, tree_digest, tree_files
from components.errors import InputError
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph
from components.quantised_tables import pack_rows
from components.train.export import export_model
from components.train.fit import TrainSummary, train
from components.train.items import build_item_table
from components.train.models.registry import find_model
from components.train.settings import TrainSettings, WarmStart
from components.train.tables import FeatureGraph
from components.train.warm_start import Earlier, carry_over, variable_names, write_record

SMALL = {"epochs": 3, "patience": 3, "batch_baskets": 128, "gap_days": 0}
STEPPED = (
    "two_tower", "matrix_factorization", "sasrec", "gru4rec", "rating_factorization", "ranker",
)  # fmt: skip


@pytest.fixture(scope="module")
def last_month(shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shop some weeks ago: without a seventh of the items and a ninth of the users."""
    folder = tmp_path_factory.mktemp("last_month")
    shutil.copytree(shop_artifacts.folder, folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "transform_graph")
    for split in ("train", "eval"):
        file = folder / "events" / split / "part-00000.parquet"
        events = pl.read_parquet(file)
        number = {name: pl.col(name).str.slice(1).cast(pl.Int32) for name in ("item", "user")}
        kept = events.filter(number["item"] % 7 != 0, number["user"] % 9 != 0)
        (kept.head(kept.height * 2 // 3) if split == "train" else kept).write_parquet(file)
    fit_transform_graph(
        events_dir=folder / "events",
        schema_path=folder / "schema.pbtxt",
        transform_graph_dir=folder / "transform_graph",
        settings=PreprocessSettings(),
        beam_options=[],
    )
    return type(shop_artifacts)(folder)


def run(prepared: Any, folder: Path, *, checkpoints: Path | str = "", **settings: Any) -> Any:
    settings = {"hyperparameters": json.dumps(SMALL)} | settings
    return train(
        **prepared.inputs,
        **prepared.outputs(folder),
        checkpoint_root=str(checkpoints),
        settings=TrainSettings(**settings),
    )


def published(model_dir: Path, folder: Path) -> Path:
    """Lay a model out as the package step does, as version 1."""
    shutil.copytree(model_dir, folder / "1")
    files = {path.as_posix(): {"sha256": file_sha256(folder / path)} for path in tree_files(folder)}
    manifest = {"version": 1, "model_sha256": tree_digest(model_dir), "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def in_service(last_month: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in_service")
    run(last_month, folder)
    return published(folder / "model", folder / "package")


@pytest.fixture(scope="module")
def warm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warm")


@pytest.fixture(scope="module")
def warm(shop_artifacts: Any, in_service: Path, warm_folder: Path) -> TrainSummary:
    return run(shop_artifacts, warm_folder, warm_start=WarmStart(str(in_service)))


def build(prepared: Any, name: str, *, seed: int) -> Any:
    graph = FeatureGraph(prepared.folder / "transform_graph")
    events = prepared.folder / "events"
    items = build_item_table(prepared.folder / "catalogue", events / "train", graph=graph)
    entry = find_model(name)
    return entry.build(items, entry.settings(), seed=seed), items, graph


@pytest.mark.parametrize("name", STEPPED)
def test_rows_are_carried_by_key_and_new_ones_start_as_the_model_starts_them(
    shop_artifacts: Any, last_month: Any, tmp_path: Path, name: str
) -> None:
    old, items, old_graph = build(last_month, name, seed=1)
    random = np.random.default_rng(3)
    for variable in old.trainable_variables:  # so that no row is zero, nor like another
        variable.assign(random.normal(size=variable.shape))
    export_model(old, items, graph=old_graph, model_dir=tmp_path)
    write_record(old, tmp_path, name=name)
    new, _, graph = build(shop_artifacts, name, seed=2)
    before = {path: np.array(value) for path, value in variable_names(new).items()}
    earlier = Earlier(tmp_path, WarmStart("here"), name, "")
    rows = carry_over(earlier, new, graph).rows

    then, now = variable_names(old), variable_names(new)
    assert set(now) == set(then) and len(now) == len(new.trainable_variables)
    feature_of = {id(variable): feature for variable, feature in new.tables()}
    for path, variable in now.items():
        found, was = np.array(variable), np.array(then[path])
        feature = feature_of.get(id(variable))
        if feature is None:
            np.testing.assert_array_equal(found, was)
            continue
        place = {key: row for row, key in enumerate(old_graph.entries(feature))}
        keys = graph.entries(feature)
        for row, key in enumerate(keys):
            expected = was[place[key]] if key in place else before[path][row]
            np.testing.assert_array_equal(found[row], expected)
        np.testing.assert_array_equal(found[len(keys) :], was[len(place) :])
    # The vocabulary has grown, and its order is another one.
    keys, olds = graph.entries("item").tolist(), old_graph.entries("item").tolist()
    assert set(olds) < set(keys) and [key for key in keys if key in olds] != olds
    buckets = graph.oov_buckets
    assert rows["item"] == (len(olds) + buckets, len(keys) + buckets)


def test_it_begins_where_the_earlier_one_ended_and_keeps_nothing_worse(
    in_service: Path, warm: TrainSummary, warm_folder: Path
) -> None:
    start = warm.curve[0]
    assert (start.labels, warm.epochs) == (0, len(warm.curve) - 1)
    best = max(epoch.ndcg for epoch in warm.curve)
    assert warm.ndcg == best == warm.curve[warm.best_epoch].ndcg
    # An untrained model finds one of ten among these items by luck; this one has learned.
    assert start.ndcg > 0.5 * best
    page = (warm_folder / "t.html").read_text(encoding="utf-8")
    assert f"Went on from {in_service}" in page
    assert f"Epoch {warm.best_epoch} of {warm.epochs} is kept" in page


def test_a_killed_warm_training_goes_on_to_the_same_result(
    shop_artifacts: Any,
    in_service: Path,
    warm: TrainSummary,
    start_training: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    words = ["--warm-start", str(in_service), "--hyperparameters", json.dumps(SMALL)]
    killed = start_training(shop_artifacts, tmp_path / "run", tmp_path / "checkpoints", *words)
    while not list(tmp_path.glob("checkpoints/*/progress.npz")):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    again = run(
        shop_artifacts,
        tmp_path / "again",
        checkpoints=tmp_path / "checkpoints",
        warm_start=WarmStart(str(in_service)),
    )
    assert "going on after epoch 1 of a run that ended early" in caplog.text
    assert [e.loss for e in again.curve[1:]] == [e.loss for e in warm.curve[1:]]
    assert [e.ndcg for e in again.curve] == [e.ndcg for e in warm.curve]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": "gru4rec", "hyperparameters": "{}"}, "a model two_tower, expected gru4rec"),
        ({"hyperparameters": '{"dimension": 16}'}, r"the shape \(32,\), expected \(16,\)"),
        ({"model": "linear_autoencoder", "hyperparameters": "{}"}, "fitted at once"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_in_one_line(
    shop_artifacts: Any, in_service: Path, tmp_path: Path, settings: Any, told: str
) -> None:
    with pytest.raises(InputError, match=told) as refused:
        run(shop_artifacts, tmp_path, warm_start=WarmStart(str(in_service)), **settings)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "model").exists()


def test_by_policy_it_starts_anew_and_says_so(
    shop_artifacts: Any, in_service: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = json.dumps({"dimension": 16, "epochs": 1})
    policy = WarmStart(str(in_service), on_mismatch="anew")
    run(shop_artifacts, tmp_path / "anew", hyperparameters=other, warm_start=policy)
    assert "starting anew, because" in caplog.text and "expected (16,)" in caplog.text


def test_a_wrong_policy_is_refused() -> None:
    with pytest.raises(InputError, match="warm_start_mismatch: found 'maybe'"):
        WarmStart("gs://shop/models/1", "maybe")


def test_a_smaller_model_is_gone_on_from_as_well(
    shop_artifacts: Any, last_month: Any, tmp_path: Path
) -> None:
    old, items, graph = build(last_month, "matrix_factorization", seed=1)
    export_model(old, items, graph=graph, model_dir=tmp_path / "model")
    write_record(old, tmp_path / "model", name="matrix_factorization")
    module = tf.Module()
    module.model = tf.Module()
    module.model.item_bias = tf.Variable(np.array(old.item_bias))
    module.model.item_embedding = tf.Variable(pack_rows(np.array(old.item_embedding)))
    module.model.user_embedding = tf.Variable(np.array(old.user_embedding).astype(np.float16))
    shutil.rmtree(tmp_path / "model" / "variables")
    tf.train.Checkpoint(model=module.model).write(str(tmp_path / "model/variables/variables"))
    new, _, today = build(shop_artifacts, "matrix_factorization", seed=2)
    carry_over(
        Earlier(tmp_path / "model", WarmStart("here"), "matrix_factorization", ""), new, today
    )
    (place,) = np.flatnonzero(today.entries("item") == graph.entries("item")[5])
    np.testing.assert_allclose(
        np.array(new.item_embedding)[place], np.array(old.item_embedding)[5], atol=1e-3
    )
