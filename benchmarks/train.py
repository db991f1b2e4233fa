"""What training's input costs: events per second beside a bare Keras loop, and memory.

Run: python -m benchmarks.train
Speed: the bare loop has its batches ready in memory and does nothing but call the traced update of
Keras; ours reads shards, cuts baskets, builds histories and makes batches as it goes. Both take the
same whole epochs, of steps of about 4,096 events, with the same model, in turns, so that a busy
machine slows both.
Memory: the anonymous memory of a process that trains on the log once, and on ten copies of it,
each with users of its own; of what ten copies take beyond one, the model's is none, as the users of
the copies have no index.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import polars as pl
import tensorflow as tf

from benchmarks.complete_journey import prepare
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph
from components.train.event_log import write_event_log
from components.train.items import build_item_table
from components.train.loop import Trainer
from components.train.models.registry import find_model
from components.train.retrieval import Stepped
from components.train.tables import FeatureGraph

REQUIRED_RATIO = 0.9
REQUIRED_MEMORY = 1.1
ROUNDS = 3
COPIES = 10
# Baskets that hold about 4,096 events.
MODELS = {"two_tower": 512, "matrix_factorization": 512}


def take(step: Callable[[Any], tf.Tensor], batches: Iterable[Any]) -> tuple[int, float]:
    """Take a step per batch; return the labels trained on and the wall time."""
    started, count, loss = time.perf_counter(), 0, None
    for parts in batches:
        loss = step(parts)
        count += parts[0].labels
    if loss is not None:
        float(loss)
    return count, time.perf_counter() - started


def bare_step(model: Stepped, learning_rate: float) -> Callable[[Any], tf.Tensor]:
    """Return the update that any Keras loop of one's own has."""
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function(input_signature=[model.signature])  # type: ignore[untyped-decorator]
    def update(batch: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model.batch_loss(batch)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return lambda parts: update(*parts)


def speed(
    name: str, splits: Path, catalogue: Path, graph_dir: Path, *, rounds: int = ROUNDS
) -> None:
    """Print both rates and their ratio."""
    graph = FeatureGraph(graph_dir)
    items = build_item_table(catalogue, splits / "train", graph=graph)
    entry = find_model(name)
    settings = entry.settings(batch_baskets=MODELS[name])
    model = entry.build(items, settings, seed=1)
    trainer = Trainer(model, settings)
    bare = bare_step(model, settings.learning_rate)
    totals = {"bare": [0, 0.0], "ours": [0, 0.0]}
    with tempfile.TemporaryDirectory() as scratch:
        log = write_event_log(
            Path(scratch),
            train_dir=splits / "train",
            eval_dir=splits / "eval",
            graph=graph,
            items=items,
        )
        for step in (bare, trainer.step):
            take(step, islice(trainer.batches(log, seed=1, epoch=0), 2))  # traces
        for turn in range(rounds):
            ready = list(trainer.batches(log, seed=1, epoch=turn))
            ours = trainer.batches(log, seed=1, epoch=turn)
            for who, taken in (("bare", take(bare, ready)), ("ours", take(trainer.step, ours))):
                totals[who] = [a + b for a, b in zip(totals[who], taken, strict=True)]
    rates = {who: events / seconds for who, (events, seconds) in totals.items()}
    print(f"train {name}: bare {rates['bare']:,.0f}, Shopflow {rates['ours']:,.0f} events/s")
    print(f"train {name}: ratio {rates['ours'] / rates['bare']:.2f} (required {REQUIRED_RATIO})")


def copy_splits(splits: Path, target: Path, *, copies: int) -> None:
    """Write the log several times over, each copy with users of its own."""
    for split in ("train", "eval"):
        (target / split).mkdir(parents=True)
        frame = pl.concat([pl.read_parquet(f) for f in sorted((splits / split).glob("*.parquet"))])
        for copy in range(copies):
            named = frame.with_columns(pl.col("user") + (f"-{copy}" if copy else ""))
            named.write_parquet(target / split / f"part-{copy:05d}.parquet", row_group_size=100_000)


def peak_memory_mb(splits: Path, catalogue: Path, graph_dir: Path) -> tuple[int, float]:
    """Train one epoch in a process of its own; return its events and highest anonymous memory."""
    arguments = [sys.executable, "-m", "benchmarks.train", "--memory"]
    shown = subprocess.run(
        [*arguments, str(splits), str(catalogue), str(graph_dir)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    events, megabytes = json.loads(shown.stdout.splitlines()[-1])
    return int(events), float(megabytes)


def train_and_look(splits: Path, catalogue: Path, graph_dir: Path) -> None:
    """Train one epoch; print the events and this process's highest anonymous memory."""
    from components.train.fit import train
    from components.train.settings import TrainSettings

    highest, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            own = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            highest[0] = max(highest[0], int(own.split()[1]))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            summary = train(
                events_dir=splits,
                catalogue_dir=catalogue,
                schema_path=prepare().schema_path,
                transform_graph_dir=graph_dir,
                model_dir=Path(folder) / "model",
                report_path=Path(folder) / "report.html",
                log_dir=Path(folder) / "logs",
                checkpoint_root="",
                settings=TrainSettings(
                    model="matrix_factorization", hyperparameters='{"epochs": 1}'
                ),
            )
    finally:
        done.set()
        watcher.join()
    print(json.dumps([summary.events, highest[0] / 1024]))


def main() -> None:
    """Print speed and memory, each as a ratio."""
    data = prepare()
    with tempfile.TemporaryDirectory() as folder:
        graph_dir, tenfold = Path(folder) / "graph", Path(folder) / "tenfold"
        fit_transform_graph(
            events_dir=data.events_dir,
            schema_path=data.schema_path,
            transform_graph_dir=graph_dir,
            settings=PreprocessSettings(),
            beam_options=[],
        )
        for name in MODELS:
            speed(name, data.events_dir, data.catalogue_dir, graph_dir)
        copy_splits(data.events_dir, tenfold, copies=COPIES)
        found = [
            peak_memory_mb(splits, data.catalogue_dir, graph_dir)
            for splits in (data.events_dir, tenfold)
        ]
    for events, megabytes in found:
        print(f"train: {events:,} events, {megabytes:,.0f} MB of anonymous memory")
    ratio = found[1][1] / found[0][1]
    print(f"train: memory ratio {ratio:.2f} (required at most {REQUIRED_MEMORY})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        train_and_look(*map(Path, sys.argv[2:5]))
    else:
        main()
