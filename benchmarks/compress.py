"""Smaller models of Complete Journey: size, memory, latency and NDCG@10, before and after.

Run: python -m benchmarks.compress [MODEL ...]
Each model is trained once, below build/bench/compress, and compressed in both formats; the evaluate
step then compares the smaller model with the trained one on the test window.
"""

import json
import sys
from pathlib import Path

from benchmarks.complete_journey import ROOT, prepare, train_into
from components.compress.compress import compress
from components.compress.cost import Cost
from components.compress.formats import FORMATS
from components.evaluate.evaluate import evaluate, evaluate_settings
from components.train.settings import TrainSettings

MODELS = ("two_tower", "linear_autoencoder")


def trained(model: str, folder: Path) -> Path:
    """Return the trained SavedModel; the first call trains it."""
    data, target = prepare(), folder / "model"
    if (target / "saved_model.pb").is_file():
        return target
    train_into(folder, data, TrainSettings(model=model))
    return target


def row(name: str, cost: Cost, ndcg: str) -> str:
    """Return one line of the table."""
    times = " | ".join(f"{p50:.1f} / {p95:.1f}" for p50, p95 in cost.latency_ms.values())
    size, memory = cost.disk_bytes / 1e6, cost.memory_bytes / 1e6
    return f"| {name} | {size:.1f} | {memory:.0f} | {times} | {ndcg} |"


def main(models: list[str]) -> None:
    """Print the table."""
    data = prepare()
    print("| model | MB on disk | MB of memory | p50 / p95 ms, 1 user | 32 users | NDCG@10 |")
    print("|---|---|---|---|---|---|")
    for model in models:
        folder = ROOT / "compress" / model
        source = trained(model, folder)
        for table_format in FORMATS:
            target = folder / table_format
            summary = compress(
                model_dir=source,
                events_dir=data.events_dir,
                smaller_dir=target / "model",
                report_path=target / "compress_report.html",
                table_format=table_format,
            )
            blessing = evaluate(
                events_dir=data.events_dir,
                catalogue_dir=data.catalogue_dir,
                model_dir=target / "model",
                live_model_dir=None,
                evaluation_dir=target / "evaluation",
                blessing_path=target / "blessing.json",
                report_path=target / "evaluation_report.html",
                settings=evaluate_settings(thresholds="", k=10, max_examples=20_000),
                reference_model_dir=source,
            )
            found = json.loads((target / "evaluation" / "metrics.json").read_text("utf-8"))
            key = "candidate-reference/ndcg@10/overall"
            low, high = found[f"{key}/low"], found[f"{key}/high"]
            was, now = (found[f"{m}/ndcg@10/overall"] for m in ("reference", "candidate"))
            print(row(f"`{model}`, float32", summary.before, f"{was:.4f}"))
            verdict = "blessed" if blessing.blessed else f"refused: {blessing.reason}"
            change = f"{now:.4f} ({low:+.5f} to {high:+.5f}, {verdict})"
            print(row(f"`{model}`, {table_format}", summary.after, change), flush=True)
            print(f"TFLite: {summary.no_tflite or 'written'}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
