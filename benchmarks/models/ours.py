"""Shopflow's families: trained by the train step, asked through the exported signatures."""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from benchmarks.models.movielens import Artifacts, MovieLens
from benchmarks.models.protocol import K, Part
from components.train.fit import train
from components.train.settings import TrainSettings

_USERS_AT_ONCE, _ROWS_AT_ONCE = 64, 256


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model_dir: Its SavedModel.
        fit_s: CPU time of the whole step, of all threads: reading, fitting, export, report.
    """

    model_dir: Path
    fit_s: float


def train_model(
    artifacts: Artifacts,
    folder: Path,
    *,
    model: str,
    hyperparameters: Mapping[str, float | str],
    seed: int,
) -> Trained:
    """Run the train step for all its epochs; no eval split is looked at."""
    started = time.process_time()
    train(
        **dataclasses.asdict(artifacts),
        model_dir=folder / "model",
        report_path=folder / "report.html",
        log_dir=folder / "logs",
        checkpoint_root="",
        settings=TrainSettings(
            model=model, hyperparameters=json.dumps(hyperparameters), seed=seed, eval_users=0
        ),
    )
    return Trained(folder / "model", time.process_time() - started)


def histories(data: MovieLens, part: Part) -> npt.NDArray[np.str_]:
    """Return the item ids of each user in order of time, [users, most]; "" is padding."""
    order = np.lexsort((part.time, part.user))
    user, lengths = part.user[order], np.bincount(part.user, minlength=len(data.users))
    padded = np.full((len(data.users), lengths.max()), "", dtype=data.items.dtype)
    place = np.arange(len(user)) - np.searchsorted(user, user)
    padded[user, place] = data.items[part.item[order]]
    return padded


def recommend(model_dir: Path, data: MovieLens, seen: Part) -> npt.NDArray[np.int64]:
    """Ask for enough items that K unseen ones, known to the seen part, are among them.

    Returns:
        Item codes, [users, K].
    """
    signature = tf.saved_model.load(str(model_dir)).signatures["recommend"]
    history, best = histories(data, seen), np.full((len(data.users), K), -1)
    allowed = np.zeros((len(data.users), len(data.items)), bool)
    allowed[:, np.unique(seen.item)] = True
    allowed[seen.user, seen.item] = False
    by_name = np.argsort(data.items)
    for start in range(0, len(data.users), _USERS_AT_ONCE):
        chunk = slice(start, start + _USERS_AT_ONCE)
        found = signature(
            user=tf.constant(data.users[chunk]),
            history=tf.constant(history[chunk]),
            k=tf.fill([len(data.users[chunk])], tf.constant(len(data.items), tf.int64)),
        )["items"].numpy()
        code = by_name[np.searchsorted(data.items[by_name], found.astype(data.items.dtype))]
        for user, row in enumerate(code, start=start):
            best[user] = row[allowed[user, row]][:K]
    return best


def predict(model_dir: Path, data: MovieLens, seen: Part, asked: Part) -> npt.NDArray[np.float32]:
    """Return what `serving_default` says of each asked pair, [rows]."""
    signature = tf.saved_model.load(str(model_dir)).signatures["serving_default"]
    history = histories(data, seen)
    predicted = []
    for start in range(0, len(asked), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        scores = signature(
            user=tf.constant(data.users[asked.user[rows]]),
            history=tf.constant(history[asked.user[rows]]),
            item=tf.constant(data.items[asked.item[rows]]),
        )["scores"]
        predicted.append(scores.numpy())
    return np.concatenate(predicted)
