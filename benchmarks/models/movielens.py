"""MovieLens-100K in the split of microsoft/recommenders, through the real ingest and preprocess.

That split is random within each user, and ingest splits in time. So the log that is written here
moves the held-out rows behind the others by whole periods, which keeps their order; ingest's split
then gives exactly the protocol's. A validation part is a quarter of each user's train rows, drawn
as the test part was; hyper-parameters are chosen on it, with the rest to train on. For the final
figures all train rows are trained on, without a look at any eval split.
"""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.models.protocol import Part
from components.ingest.config import load_config
from components.ingest.ingest import ingest
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph

_DAY_S = 86_400
# Longer than the 215 days of the log. Test moves by 3 periods and eval by 1, so that both of
# ingest's borders fall into empty days.
_PERIOD_DAYS = 600
_VALIDATION_SHARE, _VALIDATION_SEED = 0.25, 42
_CONFIG = f"""
name: movielens_100k
events:
  columns: {{user: user, item: item, time: time, rating: rating}}
  time_unit: s
catalogue:
  item: item
  features:
    title: {{column: title, type: text}}
    genres: {{column: genres, type: text}}
    year: {{column: year, type: numeric}}
clean: {{earliest: 1995-01-01}}
split: {{eval_days: {_PERIOD_DAYS * 3 // 2}, test_days: {_PERIOD_DAYS}}}
"""


@dataclasses.dataclass(frozen=True)
class MovieLens:
    """The data set.

    Attributes:
        users: User ids by code.
        items: Item ids by code.
        train: The train rows.
        validation: The part of them that chooses.
        rest: The part of them that is trained on meanwhile.
        test: The test rows.
        catalogue: item, title, genres, year.
    """

    users: npt.NDArray[np.str_]
    items: npt.NDArray[np.str_]
    train: Part
    validation: Part
    rest: Part
    test: Part
    catalogue: pl.DataFrame


def read_movielens(folder: Path) -> MovieLens:
    """Read the files of RecBole's ml-100k and the list of the test rows."""
    log = pl.read_csv(
        folder / "ml-100k.inter",
        separator="\t",
        new_columns=["user", "item", "rating", "time"],
        schema_overrides=[pl.String, pl.String, pl.Float32, pl.Int64],
    )
    users, user = np.unique(log["user"].to_numpy().astype(str), return_inverse=True)
    # Numbered as their ids are, which is the order of ties in the published popularity figures.
    numbers, item = np.unique(log["item"].cast(pl.Int64).to_numpy(), return_inverse=True)
    items = numbers.astype(str)
    everything = Part(user, item, log["rating"].to_numpy(), log["time"].to_numpy())
    in_test = np.zeros(len(log), bool)
    in_test[np.loadtxt(folder / "test_rows.txt", dtype=np.int64)] = True
    train = everything[~in_test]
    held_out = _quarter_of_each_user(train.user)
    catalogue = pl.read_csv(
        folder / "ml-100k.item",
        separator="\t",
        quote_char=None,
        infer_schema=False,
        new_columns=["item", "title", "year", "genres"],
    ).with_columns(pl.col("year").cast(pl.Float64, strict=False))
    return MovieLens(
        users, items, train, train[held_out], train[~held_out], everything[in_test], catalogue
    )


def _quarter_of_each_user(user: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    order = np.random.default_rng(_VALIDATION_SEED).permutation(len(user))
    order = order[np.argsort(user[order], kind="stable")]
    place = np.arange(len(user)) - np.searchsorted(user[order], user[order])
    drawn = np.zeros(len(user), bool)
    drawn[order] = place < np.round(np.bincount(user)[user[order]] * _VALIDATION_SHARE)
    return drawn


@dataclasses.dataclass(frozen=True)
class Artifacts:
    """What the train step reads."""

    events_dir: Path
    catalogue_dir: Path
    schema_path: Path
    transform_graph_dir: Path


def prepare(data: MovieLens, folder: Path, *, train: Part) -> Artifacts:
    """Run ingest and preprocess, once, on the log with these rows as its train split."""
    artifacts = Artifacts(
        folder / "events", folder / "catalogue", folder / "schema.pbtxt", folder / "graph"
    )
    if (artifacts.transform_graph_dir / "transform_fn").is_dir():
        return artifacts
    parts = ((train, 0), (data.validation, 1), (data.test, 3))
    rows = [_log(data, part, days=periods * _PERIOD_DAYS) for part, periods in parts]
    folder.mkdir(parents=True, exist_ok=True)
    pl.concat(rows).write_parquet(folder / "log.parquet")
    data.catalogue.write_parquet(folder / "items.parquet")
    summary = ingest(
        load_config(_CONFIG, where="movielens_100k"),
        events_uris=[str(folder / "log.parquet")],
        catalogue_uris=[str(folder / "items.parquet")],
        as_of="",
        hash_key="",
        events_dir=artifacts.events_dir,
        catalogue_dir=artifacts.catalogue_dir,
        schema_path=artifacts.schema_path,
        report_path=folder / "data_report.html",
    )
    expected = [len(train), len(data.validation), len(data.test)]
    if list(summary.rows_out.values()) != expected:
        raise RuntimeError(f"ingest wrote {summary.rows_out}, expected {expected}")
    fit_transform_graph(
        events_dir=artifacts.events_dir,
        schema_path=artifacts.schema_path,
        transform_graph_dir=artifacts.transform_graph_dir,
        settings=PreprocessSettings(),
        beam_options=[],
    )
    return artifacts


def _log(data: MovieLens, part: Part, *, days: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": data.users[part.user],
            "item": data.items[part.item],
            "rating": part.rating,
            "time": part.time + days * _DAY_S,
        }
    )
