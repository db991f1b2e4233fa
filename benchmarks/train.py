"""Events per second of training, beside a bare Keras loop over the same arrays.

Run: python -m benchmarks.train [STEPS]
Both take the same steps of the same model. The bare loop has its batches ready in memory and does
nothing but call the traced update; ours cuts baskets, builds histories and makes batches as it
goes. They run in turns, so that a busy machine slows both.
"""

import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from benchmarks.complete_journey import prepare
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph
from components.train.interactions import read_interactions
from components.train.items import build_item_table
from components.train.loop import Trainer
from components.train.models.registry import find_model
from components.train.retrieval import Batch
from components.train.tables import FeatureGraph

REQUIRED_RATIO = 0.8
ROUNDS = 3


def take(trainer: Trainer, batches: Iterable[Batch]) -> tuple[int, float]:
    """Take a step per batch; return the labels trained on and the wall time."""
    started, count, loss = time.perf_counter(), 0, None
    for batch in batches:
        loss = trainer.step(batch)
        count += batch.labels
    if loss is not None:
        float(loss)
    return count, time.perf_counter() - started


def main(steps: int) -> None:
    """Print both rates and their ratio."""
    data = prepare()
    train_dir = data.events_dir / "train"
    with tempfile.TemporaryDirectory() as graph_dir:
        fit_transform_graph(
            events_dir=data.events_dir,
            schema_path=data.schema_path,
            transform_graph_dir=Path(graph_dir),
            settings=PreprocessSettings(),
            beam_options=[],
        )
        graph = FeatureGraph(Path(graph_dir))
        items = build_item_table(data.catalogue_dir, train_dir, graph=graph)
        events = read_interactions([train_dir], graph=graph, items=items)
    entry = find_model("two_tower")
    settings = entry.settings()
    model = entry.build(items, settings, seed=1)
    trainer = Trainer(model, settings)

    def fresh(epoch: int) -> Iterable[Batch]:
        return islice(model.epoch_batches(events, seed=1, epoch=epoch), steps)

    take(trainer, islice(fresh(0), 2))
    bare_events, bare_s, our_events, our_s = 0, 0.0, 0, 0.0
    for turn in range(ROUNDS):
        ready = list(fresh(turn))
        count, seconds = take(trainer, ready)
        bare_events, bare_s = bare_events + count, bare_s + seconds
        count, seconds = take(trainer, fresh(turn))
        our_events, our_s = our_events + count, our_s + seconds
    bare, ours = bare_events / bare_s, our_events / our_s
    print(f"train: bare Keras loop {bare:,.0f} events/s, Shopflow {ours:,.0f} events/s")
    print(f"train: ratio {ours / bare:.2f} (required {REQUIRED_RATIO})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
