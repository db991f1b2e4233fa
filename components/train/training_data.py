"""What a training reads, whatever its model and hyper-parameters: read once, used by many."""

import dataclasses
from pathlib import Path

from components.errors import InputError
from components.train.interactions import Interactions, read_interactions
from components.train.items import ItemTable, build_item_table
from components.train.tables import FeatureGraph


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The artifacts of the earlier steps as arrays.

    Attributes:
        graph: The fitted transform graph.
        items: Every item that can be recommended.
        events: The train split.
        with_eval: Train and eval split together.
    """

    graph: FeatureGraph
    items: ItemTable
    events: Interactions
    with_eval: Interactions


def read_training_data(
    *, events_dir: Path, catalogue_dir: Path, transform_graph_dir: Path
) -> TrainingData:
    """Read the train and eval splits, the catalogue and the transform graph.

    Raises:
        InputError: If an input is missing or cannot be read, or the train split is empty.
    """
    graph = FeatureGraph(transform_graph_dir)
    train_dir = events_dir / "train"
    items = build_item_table(catalogue_dir, train_dir, graph=graph)
    events = read_interactions([train_dir], graph=graph, items=items)
    if len(events) == 0:
        raise InputError(str(train_dir), "0 events", "at least one")
    both = read_interactions([train_dir, events_dir / "eval"], graph=graph, items=items)
    return TrainingData(graph, items, events, both)
