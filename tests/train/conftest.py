import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
import pytest

from tests.shop import DAYS, START, make_shop

SCHEMA = """
feature { name: "user" type: BYTES presence { min_fraction: 1 } shape {} }
feature { name: "item" type: BYTES presence { min_fraction: 1 } shape {} }
feature { name: "time" type: INT time_domain { integer_format: UNIX_MICROSECONDS } }
feature { name: "price" type: FLOAT }
feature { name: "title" type: BYTES natural_language_domain {} annotation { tag: "catalogue" } }
feature { name: "category" type: BYTES annotation { tag: "catalogue" } }
feature { name: "brand" type: BYTES annotation { tag: "catalogue" } }
"""

RATED_USERS, RATED_ITEMS, TASTES = 120, 60, 2


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Artifacts that training reads, made from the synthetic shop."""

    folder: Path

    @property
    def inputs(self) -> dict[str, Path]:
        return {
            "events_dir": self.folder / "events",
            "catalogue_dir": self.folder / "catalogue",
            "schema_path": self.folder / "schema.pbtxt",
            "transform_graph_dir": self.folder / "transform_graph",
        }

    def outputs(self, run: Path) -> dict[str, Path]:
        return {"model_dir": run / "model", "report_path": run / "t.html", "log_dir": run / "logs"}


def prepare(folder: Path, *, shuffled: bool) -> Prepared:
    shop = make_shop(folder / "raw", seed=1, shuffled=shuffled)
    catalogue = pl.read_csv(shop.items).rename({"item_id": "item"}).drop("price")
    events = (
        pl.read_csv(shop.behaviour)
        .rename({"user_id": "user", "item_id": "item", "timestamp": "time"})
        .with_columns(pl.from_epoch("time", time_unit="s").cast(pl.Datetime("us")))
        .select("user", "item", "time", "price")
        .join(catalogue, on="item", how="left")
        .sort("time")
    )
    day = (pl.col("time").dt.epoch("s") - START) / 86_400
    splits = {
        "train": events.filter(day < DAYS - 12),
        "eval": events.filter((day >= DAYS - 12) & (day < DAYS - 6)),
        "test": events.filter(day >= DAYS - 6),
    }
    return write_artifacts(folder, splits, catalogue, schema=SCHEMA)


def write_artifacts(
    folder: Path, splits: Mapping[str, pl.DataFrame], catalogue: pl.DataFrame, *, schema: str
) -> Prepared:
    """Write what ingest writes, and fit the transform graph on it."""
    from components.preprocess.settings import PreprocessSettings
    from components.preprocess.transform import fit_transform_graph

    for split, rows in splits.items():
        (folder / "events" / split).mkdir(parents=True)
        rows.write_parquet(folder / "events" / split / "part-00000.parquet")
    (folder / "catalogue").mkdir()
    catalogue.write_parquet(folder / "catalogue" / "part-00000.parquet")
    (folder / "schema.pbtxt").write_text(schema)
    fit_transform_graph(
        events_dir=folder / "events",
        schema_path=folder / "schema.pbtxt",
        transform_graph_dir=folder / "transform_graph",
        settings=PreprocessSettings(),
        beam_options=[],
    )
    return Prepared(folder)


@pytest.fixture(scope="session")
def shop_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("shop"), shuffled=False)


@pytest.fixture(scope="session")
def shuffled_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("shuffled"), shuffled=True)


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A log whose ratings are 3 + b_u + b_i + ½ where user and item share a taste, else − ½."""
    folder = tmp_path_factory.mktemp("rated")
    random = np.random.default_rng(0)
    pair = random.permutation(RATED_USERS * RATED_ITEMS)[:3000]
    user, item = pair // RATED_ITEMS, pair % RATED_ITEMS
    by_user, by_item = random.normal(0, 0.5, RATED_USERS), random.normal(0, 0.5, RATED_ITEMS)
    same = user % TASTES == item % TASTES
    rating = 3 + by_user[user] + by_item[item] + np.where(same, 0.5, -0.5)
    day = np.arange(len(pair)) * 86_400_000_000 // 100
    log = pl.DataFrame(
        {
            "user": [f"u{n}" for n in user],
            "item": [f"i{n}" for n in item],
            "time": pl.Series(day).cast(pl.Datetime("us")),
            "rating": rating.astype(np.float32),
        }
    )
    # A third of the train events are no ratings: they are history alone.
    unrated = pl.int_range(pl.len()) % 3 == 0
    splits = {
        "train": log[:2400].with_columns(rating=pl.when(~unrated).then("rating")),
        "eval": log[2400:2700],
        "test": log[2700:],
    }
    schema = "".join(line + "\n" for line in SCHEMA.splitlines() if "catalogue" not in line)
    catalogue = log.select("item").unique().sort("item")
    return write_artifacts(folder, splits, catalogue, schema=schema.replace('"price"', '"rating"'))


@pytest.fixture(scope="session")
def start_training() -> Callable[..., "subprocess.Popen[str]"]:
    """Start a training in a process of its own, which can be killed."""

    def start(
        prepared: Prepared,
        run: Path,
        checkpoints: Path,
        *words: str,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "components.train"]
        for name, path in (prepared.inputs | prepared.outputs(run)).items():
            command += [f"--{name.replace('_', '-')}", str(path)]
        command += ["--checkpoint-root", str(checkpoints)]
        command += ["--hyperparameters", '{"epochs": 4, "patience": 4, "batch_baskets": 128}']
        command += words
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    return start
