"""The heavy steps on a real Flink cluster: what comes out is what comes out in one process."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.evaluate.evaluate import evaluate, evaluate_settings
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph
from tests.beam.flink import Flink
from tests.evaluate.conftest import save_model, write_catalogue, write_events

SCHEMA = """
feature { name: "user" type: BYTES }
feature { name: "item" type: BYTES }
feature { name: "price" type: FLOAT }
feature { name: "title" type: BYTES natural_language_domain {} }
"""
ITEMS = [f"n{n:02}" for n in range(20)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 households buy 20 items; the train split is three files, so that work can be divided."""
    folder, random = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)

    def events(count: int) -> list[tuple[str, str]]:
        items = np.minimum(random.geometric(0.2, count) - 1, len(ITEMS) - 1)
        return [
            (f"h{u:02}", ITEMS[i])
            for u, i in zip(random.integers(0, 40, count), items, strict=True)
        ]

    write_events(folder / "events", {"train": events(900), "eval": events(40), "test": events(120)})
    train = folder / "events" / "train" / "part-0.parquet"
    frame = pl.read_parquet(train).with_columns(
        price=pl.Series(random.gamma(2.0, 3.0, 900)),
        title="Item " + pl.col("item").str.slice(1) + pl.Series(["", " Tea", " oat-milk"] * 300),
    )
    for part, rows in enumerate(frame.iter_slices(300)):
        rows.write_parquet(train.with_name(f"part-{part}.parquet"))
    (folder / "schema.pbtxt").write_text(SCHEMA)
    write_catalogue(folder / "catalogue", ITEMS)
    save_model(folder / "model", {item: float(-n) for n, item in enumerate(ITEMS)})
    return folder


def fit(shop: Path, graph: Path, beam_options: Sequence[str]) -> dict[str, bytes]:
    """Fit the transform graph and return its files' contents by name."""
    fit_transform_graph(
        events_dir=shop / "events",
        schema_path=shop / "schema.pbtxt",
        transform_graph_dir=graph,
        settings=PreprocessSettings(batch_rows=100),
        beam_options=beam_options,
    )
    return {
        f.relative_to(graph).as_posix(): f.read_bytes() for f in graph.rglob("*") if f.is_file()
    }


def transformed(shop: Path, graph: Path) -> dict[str, np.ndarray]:
    """Return every feature of the train split as the graph makes it."""
    import tensorflow as tf
    import tensorflow_transform as tft

    rows = pl.read_parquet(shop / "events" / "train" / "*.parquet")
    price = tf.sparse.from_dense(rows["price"].cast(pl.Float32).to_numpy()[:, None])
    text = {name: tf.constant(rows[name].to_list()) for name in ("user", "item", "title")}
    features = tft.TFTransformOutput(str(graph)).transform_features_layer()(
        {**text, "price": price}
    )
    return {
        name: (value.values if isinstance(value, tf.SparseTensor) else value).numpy()
        for name, value in features.items()
    }


def measure(shop: Path, out: Path, beam_options: Sequence[str]) -> dict[str, float | None]:
    """Evaluate the model and return its metrics."""
    evaluate(
        events_dir=shop / "events",
        catalogue_dir=shop / "catalogue",
        model_dir=shop / "model",
        live_model_dir=None,
        evaluation_dir=out / "evaluation",
        blessing_path=out / "blessing.json",
        report_path=out / "report.html",
        settings=evaluate_settings(thresholds="", k=5, max_examples=100, beam_options=beam_options),
    )
    return json.loads((out / "evaluation" / "metrics.json").read_text())


def left_behind(flink: Flink) -> list[Path]:
    return [path for path in flink.exchange.rglob("*") if path.is_file()]


def test_the_transform_graph_is_the_same(flink: Flink, shop: Path, tmp_path: Path) -> None:
    here = fit(shop, tmp_path / "here", [])
    before = flink.finished_jobs()
    there = fit(shop, tmp_path / "there", flink.beam_options)
    assert flink.finished_jobs() > before
    assert left_behind(flink) == []
    assert here.keys() == there.keys()
    vocabularies = [name for name in here if "/assets/" in name]
    assert sorted(Path(name).name for name in vocabularies) == ["item", "title", "user"]
    assert {name: here[name] for name in vocabularies} == {
        name: there[name] for name in vocabularies
    }
    one, other = (transformed(shop, tmp_path / name) for name in ("here", "there"))
    for name, values in one.items():
        # Means are summed in the order in which workers see them: float32, 2^-23 apart.
        np.testing.assert_allclose(other[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_evaluation_has_the_same_numbers(flink: Flink, shop: Path, tmp_path: Path) -> None:
    here = measure(shop, tmp_path / "here", [])
    before = flink.finished_jobs()
    there = measure(shop, tmp_path / "there", flink.beam_options)
    assert flink.finished_jobs() > before
    assert left_behind(flink) == []
    # Intervals too: which households a sample leaves out is drawn before the engine sees them.
    assert here["candidate/ndcg@5/overall/low"] is not None
    assert there == pytest.approx(here, abs=1e-9)
