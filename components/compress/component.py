"""The compress step as a KFP component."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def compress(
    model: dsl.Input[dsl.Model],
    events: dsl.Input[dsl.Dataset],
    smaller: dsl.Output[dsl.Model],
    compress_report: dsl.Output[dsl.HTML],
    table_format: str,
) -> None:
    """Make a smaller model with the same signatures, and show what it saves.

    Args:
        model: The trained SavedModel.
        events: Events, split by time; users of the test split ask the requests that are timed.
        smaller: SavedModel with its tables stored in fewer bytes.
        compress_report: Size, memory and latency before and after.
        table_format: float16 or int8.
    """
    from pathlib import Path

    from components.compress.compress import compress

    summary = compress(
        model_dir=Path(model.path),
        events_dir=Path(events.path),
        smaller_dir=Path(smaller.path),
        report_path=Path(compress_report.path),
        table_format=table_format,
    )
    smaller.metadata["disk_bytes"] = summary.after.disk_bytes
    smaller.metadata["disk_bytes_before"] = summary.before.disk_bytes
