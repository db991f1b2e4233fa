"""The curve of a training: which epoch is kept, and the page that shows it."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from components import report
from components.train.checkpoint import Epoch
from components.train.hyperparameters import ModelSettings


def best_epoch(curve: Sequence[Epoch]) -> int:
    """Return the index of the first epoch that is best on the eval split; unmeasured, the last.

    Best is the lowest RMSE of a model of ratings, and the highest NDCG@10 of any other.
    """
    rated = math.isfinite(curve[-1].rmse) if curve else False
    measured = [-epoch.rmse if rated else epoch.ndcg for epoch in curve]
    if all(map(math.isnan, measured)):
        return len(curve) - 1
    return max(range(len(curve)), key=lambda index: (measured[index], -index))


def decisive(epoch: Epoch) -> tuple[str, float]:
    """Return the figure that decides which epoch is better, so that higher is better, by name."""
    return ("−RMSE", -epoch.rmse) if math.isfinite(epoch.rmse) else ("NDCG@10", epoch.ndcg)


def first_number(curve: Sequence[Epoch]) -> int:
    """Return the first epoch's number: 0 where a warm start was measured before any step."""
    return 0 if curve and not curve[0].labels else 1


def eval_figures(epoch: Epoch) -> dict[str, float]:
    """Return what was measured of an epoch on the eval split, by name, what decides first."""
    rmse = {"RMSE": epoch.rmse} if math.isfinite(epoch.rmse) else {}
    return rmse | {"NDCG@10": epoch.ndcg}


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
    best, first = best_epoch(curve), first_number(curve)
    number = list(range(first, first + len(curve)))
    figures = [eval_figures(epoch) for epoch in curve]
    rows = [
        [n, epoch.loss if epoch.labels else None, *measured.values(), epoch.seconds,
         epoch.labels / epoch.seconds]
        for n, epoch, measured in zip(number, curve, figures, strict=True)
    ]  # fmt: skip
    names = list(figures[best])
    header = ["epoch", "training loss", *(f"{n} (eval)" for n in names), "seconds", "events/s"]
    kept = ", ".join(f"{name} {value:.4f}" for name, value in figures[best].items())
    curves = [
        (f"{name} on the eval split", name, [measured[name] for measured in figures])
        for name in names
    ]
    curves.append(("Training loss", "loss", [epoch.loss for epoch in curve]))
    report.write_page(
        path,
        title=f"Training of {model}",
        lead=f"Epoch {number[best]} of {number[-1]} is kept: {kept} on the "
        + " ".join([f"eval split's sample of users, all {items:,} items ranked.", *remarks]),
        sections=[
            *(
                (title, report.line_plot({name: (number, y)}, x_label="epoch", y_label=name))
                for title, name, y in curves
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


def figures_text(epoch: Epoch) -> str:
    """Return what was measured on the eval split, for a line of the log."""
    return ", ".join(f"{name} {value:.4f}" for name, value in eval_figures(epoch).items())
