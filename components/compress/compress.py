"""The step's work: the smaller model, what it saves, and the page about it."""

import dataclasses
import logging
from pathlib import Path

from components.compress.compress_report import write_report
from components.compress.cost import Cost, measure
from components.compress.formats import find_format
from components.compress.saved_model import Table, write_smaller
from components.compress.tflite import FILE, write_tflite
from components.requests import sample_requests

_REQUESTS = 64
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CompressSummary:
    """What came of it.

    Attributes:
        tables: The model's float32 variables.
        before: Cost of the model given.
        after: Cost of the smaller one.
        no_tflite: Why there is no TFLite file; "" when there is one.
    """

    tables: tuple[Table, ...]
    before: Cost
    after: Cost
    no_tflite: str


def compress(
    *, model_dir: Path, events_dir: Path, smaller_dir: Path, report_path: Path, table_format: str
) -> CompressSummary:
    """Write a smaller model with the same signatures, and a page with what it saves.

    Whether it is as good is for the evaluate step to say.

    Args:
        model_dir: The trained SavedModel.
        events_dir: Events, split by time; users of the test split ask the requests that are timed.
        smaller_dir: Output: the smaller SavedModel.
        report_path: Output: the HTML page.
        table_format: "float16" or "int8".

    Raises:
        InputError: If the format is unknown, or there is no model, or nothing to store smaller.
    """
    chosen = find_format(table_format)
    bodies = sample_requests(events_dir, count=_REQUESTS, seed=1)
    tables = write_smaller(model_dir, smaller_dir, table_format=chosen)
    requests = [body["instances"][0] for body in bodies]
    costs = measure({"before": model_dir, "after": smaller_dir}, requests)
    summary = CompressSummary(
        tuple(tables), costs["before"], costs["after"],
        write_tflite(smaller_dir, smaller_dir / FILE),
    )  # fmt: skip
    write_report(
        report_path,
        table_format,
        tables=summary.tables,
        before=summary.before,
        after=summary.after,
        no_tflite=summary.no_tflite,
    )
    _LOG.info(
        "compress: %s, %d of %d variables, %.1f MB → %.1f MB, recommend p50 %.1f → %.1f ms",
        table_format, sum(table.smaller for table in tables), len(tables),
        summary.before.disk_bytes / 1e6, summary.after.disk_bytes / 1e6,
        summary.before.latency_ms[1][0], summary.after.latency_ms[1][0],
    )  # fmt: skip
    return summary
