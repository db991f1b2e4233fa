"""Amazon Beauty, leave-one-out: every model of sequences beside popularity and a Markov chain.

Run: python -m benchmarks.beauty [--data Beauty.txt] [--models sasrec,gru4rec] [--seeds 3]
The data is not ours to pass on: CIKM2020-S3Rec has it as `data/Beauty.txt`, a line per user:
`user item item …` in order of time.

Protocol, as in Kang & McAuley 2018 but with a full ranking: a user's last event is the test, the
one before it validation, all others are trained on. All items but those the user has are ranked
(nobody has one twice); HR@10 and NDCG@10 over the 22,363 users. The history of a test question ends
with the validation item. Two ways of fitting are in use and each row says which, because they do
not compare: "train" never learns from the validation items (published SASRec, GRU4Rec), "train +
validation" does once the settings are chosen (the baselines). Settings were chosen on validation
alone. All goes through the pipeline's own ingest, preprocess and train; judged is what the
SavedModel's `recommend` answers.
"""

import dataclasses
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq
import scipy.sparse
import typer
from rich.console import Console
from rich.table import Table

from components.ingest.config import load_config
from components.ingest.ingest import ingest
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph

CONFIG = """
name: amazon_beauty
events:
  columns: {user: user, item: item, time: time}
catalogue: {item: item}
split: {eval_days: 1, test_days: 1}
"""
ROOT = Path("build/bench/beauty")
CUTOFF = 10
EVAL_USERS = 4_000


@dataclasses.dataclass(frozen=True)
class Case:
    """A model as it is measured.

    Attributes:
        asked_for: HR@10 / NDCG@10 that it is held against.
        fitted_on: "train" or "train + validation".
        hyperparameters: JSON object.
        seeded: Whether another seed gives another model.
    """

    asked_for: str
    fitted_on: str = "train"
    hyperparameters: str = "{}"
    seeded: bool = True


MODELS = {
    "slist": Case("0.0900 / 0.0530", "train + validation", '{"max_items": 20000}', seeded=False),
    "sasrec": Case("0.0605 / 0.0318"),
    "gru4rec": Case("0.0283 / 0.0137"),
}


def read_log(path: Path) -> pl.DataFrame:
    """Read the file as events; made-up times keep each user's order.

    A user's last event falls on the last day, the one before on the day before, all others a
    minute apart on the day before that: so a split in time leaves one out.
    """
    words = pl.read_csv(path, has_header=False, new_columns=["line"], separator="\t")
    words = words.select(pl.col("line").str.strip_chars().str.split(" "))
    events = words.select(
        user=pl.col("line").list.first(), item=pl.col("line").list.slice(1)
    ).explode("item")
    place = pl.int_range(pl.len()).over("user")
    left = pl.len().over("user") - place
    day = pl.datetime(2014, 7, pl.when(left == 1).then(23).when(left == 2).then(22).otherwise(21))
    return events.with_columns(time=day + pl.duration(minutes=place))


def prepare(events: pl.DataFrame, folder: Path) -> None:
    """Run ingest and preprocess: artifacts to fit on "train", and on "train + validation"."""
    shutil.rmtree(folder, ignore_errors=True)
    first, second = folder / "train", folder / "train + validation"
    with tempfile.TemporaryDirectory() as raw:
        events.write_parquet(Path(raw, "events.parquet"))
        events.select(pl.col("item").unique()).write_parquet(Path(raw, "items.parquet"))
        ingest(
            load_config(CONFIG, where="amazon_beauty"),
            events_uris=[str(Path(raw, "events.parquet"))],
            catalogue_uris=[str(Path(raw, "items.parquet"))],
            as_of="",
            hash_key="",
            events_dir=first / "events",
            catalogue_dir=first / "catalogue",
            schema_path=first / "schema.pbtxt",
            report_path=first / "data_report.html",
        )
    shutil.copytree(first, second)
    for file in (second / "events" / "eval").glob("*.parquet"):
        shutil.copy(file, second / "events" / "train" / f"validation-{file.name}")
        pq.write_table(pq.read_table(file).slice(0, 0), file)
    for part in (first, second):
        fit_transform_graph(
            events_dir=part / "events",
            schema_path=part / "schema.pbtxt",
            transform_graph_dir=part / "transform_graph",
            settings=PreprocessSettings(),
            beam_options=[],
        )


def fit(model: str, case: Case, *, seed: int) -> Path:
    """Run the train step; return the SavedModel's folder."""
    from components.train.fit import train
    from components.train.settings import TrainSettings

    part, run = ROOT / case.fitted_on, ROOT / "runs" / f"{model}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    train(
        events_dir=part / "events",
        catalogue_dir=part / "catalogue",
        schema_path=part / "schema.pbtxt",
        transform_graph_dir=part / "transform_graph",
        model_dir=run / "model",
        report_path=run / "training_report.html",
        log_dir=run / "logs",
        checkpoint_root=str(ROOT / "checkpoints"),
        settings=TrainSettings(
            model=model, hyperparameters=case.hyperparameters, seed=seed, eval_users=EVAL_USERS
        ),
    )
    return run / "model"


def questions(events: pl.DataFrame) -> pl.DataFrame:
    """Return each user's `history` (a list) and `item`, the last one; short histories first."""
    by_user = events.group_by("user", maintain_order=True).agg(pl.col("item"))
    asked = by_user.select(
        "user", history=pl.col("item").list.head(pl.col("item").list.len() - 1),
        item=pl.col("item").list.last(),
    )  # fmt: skip
    return asked.sort(pl.col("history").list.len(), maintain_order=True)


def padded(histories: pl.Series) -> npt.NDArray[np.bytes_]:
    """Return lists of ids as an array [rows, longest], most recent last, "" before the first."""
    longest = int(histories.list.len().max())
    blank = pl.Series([""] * longest)
    rows = histories.to_frame("h").select(
        pl.lit(blank).implode().list.concat("h").list.tail(longest).list.to_array(longest)
    )
    return rows.to_series().to_numpy().astype(np.bytes_)


def ranks_of_model(model_dir: Path, asked: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Return the rank of each user's item among those the user does not have; ∞ beyond the list."""
    import tensorflow as tf

    recommend = tf.saved_model.load(str(model_dir)).signatures["recommend"]
    ranks = []
    for rows in asked.iter_slices(256):
        history = padded(rows["history"])
        best = recommend(
            user=tf.constant(rows["user"].to_list()),
            history=tf.constant(history.astype(object)),
            k=tf.fill([len(rows)], np.int64(CUTOFF + history.shape[1])),
        )["items"].numpy().astype(np.bytes_)  # fmt: skip
        new = ~(best[:, :, np.newaxis] == history[:, np.newaxis, :]).any(axis=2)
        true = new & (best == rows["item"].to_numpy().astype(np.bytes_)[:, np.newaxis])
        rank = np.cumsum(new, axis=1)[np.arange(len(rows)), true.argmax(axis=1)]
        ranks.append(np.where(true.any(axis=1), rank, np.inf))
    return np.concatenate(ranks)


def ranks_of_baselines(asked: pl.DataFrame) -> dict[str, npt.NDArray[np.float64]]:
    """Return the ranks by popularity and by the count of i → j, then popularity (Markov-1)."""
    known = asked.select("history").explode("history").to_series()
    items = pl.concat([known, asked["item"]]).unique().sort()
    code = {item: row for row, item in enumerate(items)}
    counts = np.bincount(known.replace_strict(code).to_numpy(), minlength=len(items))
    pair = asked.select(
        of=pl.col("history").list.head(pl.col("history").list.len() - 1),
        to=pl.col("history").list.slice(1),
    ).explode("of", "to").drop_nulls()  # fmt: skip
    where = tuple(pair[name].replace_strict(code).to_numpy() for name in ("of", "to"))
    follows = scipy.sparse.csr_array(
        (np.ones(pair.height), where), shape=(len(items), len(items))
    ).tocsr()
    popular = counts / (counts.max() + 1.0)
    ranks: dict[str, list[npt.NDArray[np.float64]]] = {"popularity": [], "Markov-1": []}
    for rows in asked.iter_slices(256):
        last = rows["history"].list.last().replace_strict(code).to_numpy()
        own = rows["item"].replace_strict(code).to_numpy()
        seen = rows.select("history").with_row_index("row").explode("history")
        seen = (seen["row"].to_numpy(), seen["history"].replace_strict(code).to_numpy())
        everyone = np.tile(popular, (len(rows), 1))
        for name, scores in (
            ("popularity", everyone),
            ("Markov-1", follows[last].toarray() + popular),
        ):
            scores[seen] = -np.inf
            true = scores[np.arange(len(rows)), own][:, np.newaxis]
            ranks[name].append(1.0 + (scores > true).sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in ranks.items()}


def metrics(ranks: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return HR@10 and NDCG@10."""
    found = ranks <= CUTOFF
    gain = np.where(found, 1.0 / np.log2(np.minimum(ranks, CUTOFF) + 1.0), 0.0)
    return float(found.mean()), float(gain.mean())


def main(
    data: Annotated[Path, typer.Option(help="Beauty.txt")] = Path(
        "../shared/data/amazon-beauty/Beauty.txt"
    ),
    models: Annotated[str, typer.Option(help="Names, by comma.")] = ",".join(MODELS),
    seeds: Annotated[int, typer.Option(help="Trainings of each model that has a seed.")] = 3,
) -> None:
    """Print the table."""
    if not data.is_file():
        print(f"beauty: skipped, no {data}; give --data Beauty.txt of CIKM2020-S3Rec")
        return
    events = read_log(data)
    prepare(events, ROOT)
    asked = questions(events)
    console = Console()
    table = Table(title=f"Amazon Beauty, {len(asked):,} users, all items ranked")
    for column in ("model", "fitted on", "HR@10", "NDCG@10", "asked for", "fit s"):
        table.add_column(column)
    for name, ranks in ranks_of_baselines(asked).items():
        hr, ndcg = metrics(ranks)
        table.add_row(name, "train + validation", f"{hr:.4f}", f"{ndcg:.4f}", "–", "–")
    for model in models.split(","):
        case, figures, seconds = MODELS[model], [], []
        for seed in range(1, seeds + 1 if case.seeded else 2):
            started = time.perf_counter()
            folder = fit(model, case, seed=seed)
            seconds.append(time.perf_counter() - started)
            figures.append(metrics(ranks_of_model(folder, asked)))
            hr, ndcg = figures[-1]
            console.print(f"{model}, seed {seed}: {hr:.4f} / {ndcg:.4f}, {seconds[-1]:.0f} s")
        mean = [f"{np.mean(f):.4f} ± {np.std(f):.4f}" for f in zip(*figures, strict=True)]
        table.add_row(model, case.fitted_on, *mean, case.asked_for, f"{np.mean(seconds):.0f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
