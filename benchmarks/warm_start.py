"""A week later, with and without a warm start, on Complete Journey.

Run: python -m benchmarks.warm_start [MODEL]
For each seed a model is trained on the log up to 4 December and published; then two on the log up
to 11 December, one anew and one that goes on from it. Told are the epochs and the seconds of
training until a run's NDCG@10 on the eval split is at least the best of the run that began anew;
those of epoch 0, the model as it was carried over, are the time it takes to measure it.
"""

import math
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.complete_journey import prepare, train_into
from components.checksum import tree_digest
from components.evaluate.gate import Blessing
from components.package.package import publish
from components.train.checkpoint import Epoch
from components.train.settings import TrainSettings, WarmStart

BEFORE, AFTER, SEEDS = "2017-12-04", "2017-12-11", (1, 2, 3)


def run(as_of: str, folder: Path, settings: TrainSettings) -> tuple[Epoch, ...]:
    """Train on the log up to a date; return the curve."""
    return train_into(folder, prepare(as_of), settings).curve


def published(folder: Path) -> str:
    """Publish the model that was trained into a folder; return the package's URI."""
    data, model_dir = prepare(BEFORE), folder / "model"
    Blessing(True, tree_digest(model_dir), (), "for a benchmark").write(folder / "blessing.json")
    (folder / "metrics.json").write_text("{}", encoding="utf-8")
    return publish(
        model_dir=model_dir,
        blessing_path=folder / "blessing.json",
        schema_path=data.schema_path,
        evaluation_dir=folder,
        events_dir=data.events_dir,
        store_uri=str(folder / "store"),
        name="warm_start",
        lineage={},
    ).uri


def until(curve: tuple[Epoch, ...], ndcg: float) -> tuple[int, float]:
    """Return the epochs and the seconds until an NDCG@10 is reached, −1 and ∞ when never.

    The seconds of a warm start's epoch 0 are those of measuring it.
    """
    for count, epoch in enumerate(curve, start=1):
        if epoch.ndcg >= ndcg:
            trained = sum(done.labels > 0 for done in curve[:count])
            return trained, sum(done.seconds for done in curve[:count])
    return -1, math.inf


def main(model: str) -> None:
    """Print a line per seed, and the means."""
    print(f"{model}: | seed | run | NDCG@10 by epoch | best | epochs, seconds to anew's best |")
    ratios, gains = [], []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as scratch:
            folders = {name: Path(scratch) / name for name in ("before", "anew", "warm")}
            settings = TrainSettings(model=model, seed=seed)
            run(BEFORE, folders["before"], settings)
            source = WarmStart(published(folders["before"]))
            curves = {
                "anew": run(AFTER, folders["anew"], settings),
                "warm": run(
                    AFTER,
                    folders["warm"],
                    TrainSettings(model=model, seed=seed, warm_start=source),
                ),
            }
        best = {name: max(epoch.ndcg for epoch in curve) for name, curve in curves.items()}
        reached = {name: until(curve, best["anew"]) for name, curve in curves.items()}
        for name, curve in curves.items():
            shown = " ".join(f"{epoch.ndcg:.4f}" for epoch in curve)
            epochs, seconds = reached[name]
            print(f"| {seed} | {name} | {shown} | {best[name]:.4f} | {epochs}, {seconds:.1f} |")
        sys.stdout.flush()
        ratios.append(reached["warm"][1] / reached["anew"][1])
        gains.append(best["warm"] - best["anew"])
    print(
        f"warm_start: {statistics.mean(ratios):.2f} × the seconds, NDCG@10 "
        f"{statistics.mean(gains):+.4f} ± {statistics.stdev(gains):.4f} over {len(SEEDS)} seeds"
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "two_tower")
