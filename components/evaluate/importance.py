"""What a model's recommendations rest on: how much worse they are when a part is kept from it.

A part of every query is masked (the user becomes a stranger, events of the history are taken out)
or permuted (their order), and the same held-out items are ranked again: the fall of NDCG@k is the
part's importance (Breiman, "Random Forests", 2001, §10; Fisher, Rudin & Dominici, "All Models are
Wrong, but Many are Useful", JMLR 2019). It asks the signature `evaluate` only, so it is the same
for every family.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import tensorflow as tf

from components.evaluate.rank_metrics import gains

_MOST_EXAMPLES = 1000
_NORMAL_95 = 1.96
_NDCG = 1  # column of `gains`
# Events of the history by age: the last one has age 0.
_AGES = {
    "last event": (0, 1),
    "2nd to 5th last event": (1, 5),
    "6th to 20th last event": (5, 20),
    "older events": (20, 2**31),
}

Strings = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Importance:
    """What one part of the query is worth.

    Attributes:
        part: Its name.
        drop: NDCG@k with it less NDCG@k without it, mean over the examples.
        low: Lower end of the 95 % confidence interval; NaN for one household.
        high: Upper end.
        examples: Examples in the sample.
    """

    part: str
    drop: float
    low: float
    high: float
    examples: int


def measure_importance(
    model_dir: Path, examples: pl.DataFrame, *, k: int, seed: int
) -> tuple[Importance, ...]:
    """Mask each part of a sample's queries in turn and rank again.

    Args:
        model_dir: SavedModel with the signature `evaluate`.
        examples: user, item and history (list, oldest first, padded at the end with "").
        k: Cut-off of NDCG@k.
        seed: Of the sample of households and of the permutation.

    Returns:
        The user, the whole history, its order, and its parts by age.
    """
    random = np.random.default_rng(seed)
    sample = _sample(examples, random)
    household = sample["user"].rank("dense").to_numpy().astype(np.int64) - 1
    user, item = (np.array(sample[name].to_list(), object) for name in ("user", "item"))
    history = np.array(sample["history"].to_list(), object).reshape(len(user), -1)
    there = history != ""
    age = there.sum(axis=1, keepdims=True) - 1 - np.arange(history.shape[1])
    masks = {"whole history": there}
    masks |= {name: there & (age >= low) & (age < high) for name, (low, high) in _AGES.items()}
    queries = {"user": (np.full_like(user, ""), history)}
    queries |= {name: (user, np.where(mask, "", history)) for name, mask in masks.items()}
    queries["order of the history"] = (user, _shuffled(history, there, random))

    evaluate = tf.saved_model.load(str(model_dir)).signatures["evaluate"]

    def ndcg(asked: tuple[Strings, Strings]) -> Floats:
        users, histories = (tf.constant(part, tf.string) for part in asked)
        ranks = evaluate(user=users, history=histories, item=tf.constant(item, tf.string))
        return np.asarray(gains(ranks["rank"].numpy(), k=k)[:, _NDCG], np.float64)

    whole = ndcg((user, history))
    return tuple(
        _with_interval(name, whole - ndcg(asked), household) for name, asked in queries.items()
    )


def _sample(examples: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Return the examples of whole households, drawn until there are enough."""
    counts = examples["user"].value_counts().sort("user")
    drawn = counts[random.permutation(counts.height)]
    before = pl.col("count").cum_sum() - pl.col("count")
    return examples.join(drawn.filter(before < _MOST_EXAMPLES), on="user", how="semi")


def _shuffled(
    history: Strings, there: npt.NDArray[np.bool_], random: np.random.Generator
) -> Strings:
    """Return each history in a random order; its padding stays at the end."""
    keys = np.where(there, random.random(history.shape), 2.0)
    return np.take_along_axis(history, np.argsort(keys, axis=1), axis=1)


def _with_interval(name: str, drops: Floats, household: npt.NDArray[np.int64]) -> Importance:
    """Return the mean drop; its interval takes one household's examples as one observation.

    Cluster-robust variance of a mean (Cameron & Miller, "A Practitioner's Guide to Cluster-Robust
    Inference", 2015, §2.3): H / (H − 1) · Σ_h (Σ_{i in h} (d_i − mean))² / n².
    """
    mean = float(drops.mean())
    sums = np.bincount(household, drops - mean)
    clusters = len(sums)
    if clusters < 2:
        return Importance(name, mean, math.nan, math.nan, len(drops))
    error = math.sqrt(clusters / (clusters - 1) * float(np.square(sums).sum())) / len(drops)
    return Importance(name, mean, mean - _NORMAL_95 * error, mean + _NORMAL_95 * error, len(drops))
