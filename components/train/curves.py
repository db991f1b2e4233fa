"""The curve of a training: which epoch is kept, and the page that shows it."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from components import report
from components.train.checkpoint import Epoch
from components.train.hyperparameters import ModelSettings


def best_epoch(curve: Sequence[Epoch]) -> int:
    """Return the index of the first epoch with the highest NDCG@10; without any, the last."""
    measured = [epoch.ndcg for epoch in curve]
    if all(map(math.isnan, measured)):
        return len(curve) - 1
    return max(range(len(curve)), key=lambda index: (measured[index], -index))


def write_training_report(
    path: Path,
    curve: Sequence[Epoch],
    *,
    model: str,
    settings: ModelSettings,
    items: int,
    remarks: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        curve: Epochs in order, at least one.
        model: Name of the model.
        settings: Its hyper-parameters.
        items: Items ranked.
        remarks: Sentences about this training that its reader must know.
    """
    best = best_epoch(curve)
    number = list(range(1, len(curve) + 1))
    rows = [
        [n, epoch.loss, epoch.ndcg, epoch.seconds, epoch.labels / epoch.seconds]
        for n, epoch in zip(number, curve, strict=True)
    ]
    header = ["epoch", "training loss", "NDCG@10 (eval)", "seconds", "events/s"]
    loss, ndcg = [epoch.loss for epoch in curve], [epoch.ndcg for epoch in curve]
    report.write_page(
        path,
        title=f"Training of {model}",
        lead=f"Epoch {best + 1} of {len(curve)} is kept: NDCG@10 {curve[best].ndcg:.4f} on the "
        + " ".join([f"eval split's sample of users, all {items:,} items ranked.", *remarks]),
        sections=[
            (
                "NDCG@10 on the eval split",
                report.line_plot({"NDCG@10": (number, ndcg)}, x_label="epoch", y_label="NDCG@10"),
            ),
            (
                "Training loss",
                report.line_plot({"loss": (number, loss)}, x_label="epoch", y_label="loss (nats)"),
            ),
            ("Epochs", report.table(header, rows)),
            (
                "Hyper-parameters",
                report.table(
                    ["name", "value"],
                    [[k, str(v)] for k, v in sorted(dataclasses.asdict(settings).items())],
                ),
            ),
        ],
    )
