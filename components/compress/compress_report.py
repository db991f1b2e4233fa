"""What the smaller model saves, as a page."""

from collections.abc import Sequence
from pathlib import Path

import markupsafe

from components import report
from components.compress.cost import Cost
from components.compress.saved_model import Table
from components.compress.tflite import FILE


def write_report(
    path: Path,
    table_format: str,
    *,
    tables: Sequence[Table],
    before: Cost,
    after: Cost,
    no_tflite: str,
) -> None:
    """Write the page.

    Args:
        path: File to write.
        table_format: How tables are stored in the smaller model.
        tables: The model's float32 variables.
        before: Cost of the model that was trained.
        after: Cost of the smaller one.
        no_tflite: Why there is no TFLite file; "" when there is one.
    """
    share = after.disk_bytes / before.disk_bytes
    report.write_page(
        path,
        title="What does the smaller model save?",
        lead=f"Tables as {table_format}: {share:.0%} of the size on disk. Whether it is good "
        "enough is in the evaluation report, where the trained model is its reference.",
        sections=[
            ("What it costs to serve", _costs(before, after, no_tflite)),
            ("What is stored smaller", _tables(tables, table_format)),
            ("How to read this", _how_to_read()),
        ],
    )


def _costs(before: Cost, after: Cost, no_tflite: str) -> markupsafe.Markup:
    rows: list[list[object]] = [
        _row("size on disk, MB", before.disk_bytes / 1e6, after.disk_bytes / 1e6),
        _row("memory when serving, MB", before.memory_bytes / 1e6, after.memory_bytes / 1e6),
    ]
    for batch, (p50, p95) in before.latency_ms.items():
        found = after.latency_ms[batch]
        users = "1 user" if batch == 1 else f"{batch} users"
        rows.append(_row(f"recommend, {users}, p50 ms", p50, found[0]))
        rows.append(_row(f"recommend, {users}, p95 ms", p95, found[1]))
    tflite = f"not possible because {no_tflite}" if no_tflite else f"written to {FILE}"
    return report.table(["", "trained", "smaller", "smaller / trained"], rows) + report.paragraph(
        f"TFLite: {tflite}."
    )


def _row(name: str, before: float, after: float) -> list[object]:
    return [name, before, after, after / before if before > 0 else None]


def _tables(tables: Sequence[Table], table_format: str) -> markupsafe.Markup:
    rows = [
        [one.name, " × ".join(f"{size:,}" for size in one.shape), "float32",
         table_format if one.smaller else "float32"]
        for one in tables
    ]  # fmt: skip
    return report.table(["variable", "shape", "trained", "smaller"], rows)


def _how_to_read() -> markupsafe.Markup:
    texts = [
        "Both models answered the same requests of users of the test window in turn, in one "
        "process, so that a busy machine slows both. Memory is by how much a process of its own "
        "grows when it loads the model and answers.",
        "Only tables with a row per user, item or word are stored smaller: layers and biases are "
        "few numbers, and matter each. int8 keeps a scale for every row. Rows are widened to "
        "float32 when they are read, so the arithmetic of the answers is the same.",
    ]
    return markupsafe.Markup("").join(report.paragraph(text) for text in texts)
