from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from components.ingest.config import DatasetConfig, load_config
from components.ingest.ingest import IngestSummary, ingest
from tests.storage_server import running_storage

CONFIG = """
name: small
events:
  columns: {user: who, item: what, time: when, quantity: count, price: paid}
catalogue:
  item: id
  features:
    title: {column: title, type: text}
    category: {column: kind, type: categorical}
split: {eval_days: 1, test_days: 1}
"""
CATALOGUE = "id,title,kind,supplier\na,red apple,fruit,x\nb,green pear,fruit,y\nc,oak chair,,z\n"
# Six days, one event each at noon: the last day is test, the day before eval, the rest train.
EVENTS = (
    "who,what,when,count,paid,email\n"
    "u1,a,2024-05-01 12:00:00,1,2.0,u1@x\n"
    "u2,b,2024-05-02 12:00:00,1,3.0,u2@x\n"
    "u1,b,2024-05-03 12:00:00,2,3.0,u1@x\n"
    "u2,c,2024-05-04 12:00:00,1,9.0,u2@x\n"
    "u1,c,2024-05-05 12:00:00,1,9.0,u1@x\n"
    "u2,a,2024-05-06 12:00:00,3,2.0,u2@x\n"
)


class SmallShop:
    """Six events on three items; a test changes one thing and runs ingest."""

    def __init__(self, folder: Path) -> None:
        self.events, self.catalogue = folder / "events.csv", folder / "catalogue.csv"
        self.out = folder / "out"
        self.events.write_text(EVENTS)
        self.catalogue.write_text(CATALOGUE)

    def config(self, change: Callable[[str], str] = str) -> DatasetConfig:
        return load_config(change(CONFIG), where="small.yaml")

    def ingest(
        self,
        *,
        config: DatasetConfig | None = None,
        events: str | None = None,
        as_of: str = "",
        hash_key: str = "",
    ) -> IngestSummary:
        return ingest(
            config or self.config(),
            events_uris=[events or str(self.events)],
            catalogue_uris=[str(self.catalogue)],
            as_of=as_of,
            hash_key=hash_key,
            events_dir=self.out / "events",
            catalogue_dir=self.out / "catalogue",
            schema_path=self.out / "schema.pbtxt",
            report_path=self.out / "report.html",
        )

    def rows(self) -> pl.DataFrame:
        """Every event written, in the order of time."""
        return pl.concat(
            pl.read_parquet(self.out / "events" / split / "*.parquet")
            for split in ("train", "eval", "test")
        )


@pytest.fixture
def small_shop(tmp_path: Path) -> SmallShop:
    return SmallShop(tmp_path)


@pytest.fixture(scope="module")
def gcs_bucket() -> Iterator[str]:
    """A bucket on a storage server on loopback."""
    with running_storage("shop"):
        yield "shop"
