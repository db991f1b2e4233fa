"""What a training reads, whatever its model and hyper-parameters: read once, used by many."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.errors import InputError
from components.train.event_log import EventLog, write_event_log
from components.train.items import ItemTable, build_item_table
from components.train.tables import FeatureGraph


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The artifacts of the earlier steps, ready to be trained on.

    Attributes:
        graph: The fitted transform graph.
        items: Every item that can be recommended.
        log: The train and the eval split.
    """

    graph: FeatureGraph
    items: ItemTable
    log: EventLog


@contextlib.contextmanager
def open_training_data(
    *, events_dir: Path, catalogue_dir: Path, transform_graph_dir: Path
) -> Iterator[TrainingData]:
    """Read the train and eval splits, the catalogue and the transform graph.

    The log lies in a temporary folder, on the disk that TMPDIR names, until the context ends.

    Raises:
        InputError: If an input is missing or cannot be read, or the train split is empty.
    """
    graph = FeatureGraph(transform_graph_dir)
    train_dir = events_dir / "train"
    items = build_item_table(catalogue_dir, train_dir, graph=graph)
    with tempfile.TemporaryDirectory(prefix="shopflow-train-") as scratch:
        log = write_event_log(
            Path(scratch),
            train_dir=train_dir,
            eval_dir=events_dir / "eval",
            graph=graph,
            items=items,
        )
        if log.events == 0:
            raise InputError(str(train_dir), "0 events", "at least one")
        yield TrainingData(graph, items, log)
