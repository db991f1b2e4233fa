"""The KFP interface of ingest."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def ingest(
    dataset: str,
    events_uri: str,
    catalogue_uri: str,
    events: dsl.Output[dsl.Dataset],
    catalogue: dsl.Output[dsl.Dataset],
    schema: dsl.Output[dsl.Artifact],
    data_report: dsl.Output[dsl.HTML],
    as_of: str = "",
) -> None:
    """Clean a shop's log and catalogue, join them and split them in time.

    Args:
        dataset: Text of a data-set config, YAML.
        events_uri: Files or folders of the behaviour log, separated by commas; local or gs://.
        catalogue_uri: The same for the item catalogue.
        events: Parquet by split, with the catalogue's features joined on.
        catalogue: Parquet, one row per item.
        schema: tensorflow_metadata Schema, text proto.
        data_report: What the data is and what cleaning did to it.
        as_of: ISO date; events at or after it are removed. Empty keeps all.
    """
    import os
    from pathlib import Path

    from components.ingest.config import load_config
    from components.ingest.ingest import ingest

    summary = ingest(
        load_config(dataset, where="parameter dataset"),
        events_uris=events_uri.split(","),
        catalogue_uris=catalogue_uri.split(","),
        as_of=as_of,
        hash_key=os.environ.get("SHOPFLOW_HASH_KEY", ""),
        events_dir=Path(events.path),
        catalogue_dir=Path(catalogue.path),
        schema_path=Path(schema.path),
        report_path=Path(data_report.path),
    )
    events.metadata.update({f"rows_{split}": rows for split, rows in summary.rows_out.items()})
    catalogue.metadata["rows"] = summary.catalogue_rows
