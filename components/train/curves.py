"""The training report: one page with the curves."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from components import report
from components.train.checkpoint import Epoch
from components.train.hyperparameters import ModelSettings


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
    best = max(range(len(curve)), key=lambda epoch: curve[epoch].ndcg)
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
