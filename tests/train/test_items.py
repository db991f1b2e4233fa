"""The item table when the vocabulary holds only some of what was bought."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph
from components.train.items import ItemTable, build_item_table
from components.train.models.registry import find_model
from components.train.tables import FeatureGraph

VOCABULARY = 20


@pytest.fixture(scope="module")
def items(shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory) -> ItemTable:
    graph_dir = tmp_path_factory.mktemp("cut") / "transform_graph"
    fit_transform_graph(
        events_dir=shop_artifacts.folder / "events",
        schema_path=shop_artifacts.folder / "schema.pbtxt",
        transform_graph_dir=graph_dir,
        settings=PreprocessSettings(vocabulary_size=VOCABULARY),
        beam_options=[],
    )
    train_dir = shop_artifacts.folder / "events" / "train"
    catalogue_dir = shop_artifacts.folder / "catalogue"
    return build_item_table(catalogue_dir, train_dir, graph=FeatureGraph(graph_dir))


def test_events_are_counted_of_items_outside_the_vocabulary_too(
    items: ItemTable, shop_artifacts: Any
) -> None:
    events = pl.read_parquet(shop_artifacts.folder / "events" / "train")
    bought = dict(events["item"].value_counts().iter_rows())
    assert items.vocabulary == VOCABULARY < len(bought)
    found = {name.decode(): count for name, count in zip(items.names, items.counts, strict=True)}
    assert {name: count for name, count in found.items() if count} == bought


def test_a_bucket_of_many_items_starts_as_popular_as_one_of_them(items: ItemTable) -> None:
    entry = find_model("matrix_factorization")
    bias = np.array(entry.build(items, entry.settings(), seed=1).item_bias)
    ids = items.ids["item"][items.vocabulary :]
    counts = items.counts[items.vocabulary :]
    for bucket in np.unique(ids):
        mean = counts[ids == bucket].mean()
        assert bias[bucket] == pytest.approx(np.log(max(mean, 0.5) / items.counts.sum()))
    assert bias[ids].max() < bias[: items.vocabulary].min()
