"""The KFP component, run by kfp.local on the contents of what it writes."""

from pathlib import Path

import polars as pl
import pytest
from kfp import dsl, local

from components.ingest.component import ingest
from tests.shop import USER_BEHAVIOR, make_shop


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_component_passes_its_inputs_on_and_fills_its_outputs(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", seed=5, users=50, items=60, events=2_000)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))

    @dsl.pipeline
    def alone(dataset: str, events_uri: str, catalogue_uri: str, as_of: str) -> None:
        ingest(dataset=dataset, events_uri=events_uri, catalogue_uri=catalogue_uri, as_of=as_of)

    alone(
        dataset=USER_BEHAVIOR.read_text(),
        events_uri=str(shop.behaviour),
        catalogue_uri=str(shop.items),
        as_of="2024-02-20",
    )
    (events,) = (tmp_path / "root").rglob("events")
    (catalogue,) = (tmp_path / "root").rglob("catalogue")
    (schema,) = (tmp_path / "root").rglob("schema")
    (page,) = (tmp_path / "root").rglob("data_report")
    rows = pl.read_parquet(events / "*" / "*.parquet")
    raw = pl.read_csv(shop.behaviour)
    assert len(rows) == len(raw.filter(pl.col("timestamp") < 1_708_387_200))  # 2024-02-20 UTC
    assert len(pl.read_parquet(catalogue / "*.parquet")) == 60
    assert schema.read_text().startswith('feature {\n  name: "user"')
    assert "Data report: user_behavior" in page.read_text()
