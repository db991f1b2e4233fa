"""What a model predicts of single pairs, beside an order of items, and how right it is.

A model that predicts ratings, or clicks, has a signature of that name. It is measured on pairs of
the test window whose labels are known, beside one simple rival fitted on train + eval:

* rating: every rated event of the test window, label = its rating. Rival `biases`: μ + b_i + b_u,
      b_i = Σ (r − μ) / (25 + ratings of i),    b_u = Σ (r − μ − b_i) / (10 + ratings of u)
  (Koren, "Factor in the Neighbors", TKDD 2010, §2.1, with its constants), cut to the scale.
* click: events of the test window, label 1, and for each of them four items drawn evenly from the
  catalogue, label 0, without what the household took in the window. Nothing says that a household
  saw those and left them: the figures tell how well events are told from chance, and compare
  models; they are no forecast of a click-through rate. Rival `popularity`:
      s = log( (events of i + ½) / (events + ½ n) · n ).
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no stubs
from tensorflow.core.protobuf import saved_model_pb2

from components.errors import InputError
from components.evaluate.analysis import Measurement, analyse
from components.evaluate.examples import ExampleSettings, describe_pairs
from components.evaluate.household_slices import LABEL, RIVAL_PREFIX
from components.evaluate.prediction_metrics import METRICS, PredictionMetrics
from components.splits import scan_catalogue, scan_split

NEGATIVES = 4
_ITEM_DAMPING, _USER_DAMPING = 25.0, 10.0


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What was measured.

    Attributes:
        kind: "rating" or "click".
        measurements: By model, metric and slice.
        examples: Pairs measured on, the drawn ones included.
        left_out: Labelled events of the test window that were not sampled.
    """

    kind: str
    measurements: tuple[Measurement, ...]
    examples: int
    left_out: int


def predicted_kind(model_dir: Path) -> str:
    """Return what a SavedModel predicts: "rating", "click", or "" for an order of items alone."""
    signatures = signatures_of(model_dir)
    return next((kind for kind in METRICS if kind in signatures), "")


def signatures_of(model_dir: Path) -> set[str]:
    """Return the names of a SavedModel's signatures.

    Raises:
        InputError: If there is none that can be read.
    """
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((model_dir / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(str(model_dir), f"no saved_model.pb ({error})", "a SavedModel") from error
    return {name for graph in saved.meta_graphs for name in graph.signature_def}


def measure_predictions(
    models: Mapping[str, Path],
    *,
    events_dir: Path,
    catalogue_dir: Path,
    output_dir: Path,
    settings: ExampleSettings,
    beam_options: tuple[str, ...] = (),
) -> Predictions | None:
    """Measure what the candidate predicts, beside its rival and the live model.

    Args:
        models: SavedModel directories; the first is the candidate. One that predicts something
            else than the candidate cannot be compared with it and is left out.
        events_dir: Events with train, eval and test.
        catalogue_dir: Catalogue.
        output_dir: Gets TFMA's output.
        settings: Sampling and lengths.
        beam_options: Options of TFMA's Beam pipeline.

    Returns:
        The measurements; None when the candidate predicts nothing but an order.

    Raises:
        InputError: If the test window holds nothing to measure it on.
    """
    kinds = {name: predicted_kind(path) for name, path in models.items()}
    kind = next(iter(kinds.values()))
    if not kind:
        return None
    labelled, left_out = _PAIRS[kind](events_dir, catalogue_dir, settings)
    frame = describe_pairs(labelled, events_dir, catalogue_dir, settings=settings)
    measurements = analyse(
        frame,
        {name: path for name, path in models.items() if kinds[name] == kind},
        signature=kind,
        metric=PredictionMetrics,
        metric_settings={"kind": kind, "negatives": NEGATIVES},
        output_dir=output_dir,
        seed=settings.seed,
        beam_options=beam_options,
    )
    return Predictions(kind, tuple(measurements), frame.height, left_out)


def rated_pairs(
    events_dir: Path, catalogue_dir: Path, settings: ExampleSettings
) -> tuple[pl.DataFrame, int]:
    """Return rated events of the test window with the rival's answer, and how many were left out.

    Raises:
        InputError: If none is rated.
    """
    del catalogue_dir
    held_out = _rated(events_dir, "test")
    if held_out.is_empty():
        raise InputError(
            str(events_dir / "test"), "no rated event", "some: the model predicts them"
        )
    held_out = held_out.sort("user", "item", LABEL)
    sampled = held_out.sample(min(settings.max_examples, held_out.height), seed=settings.seed)
    known = _rated(events_dir, "train", "eval")
    ratings = known[LABEL].to_numpy()
    mean = float(ratings.mean())
    of_item = known.group_by("item").agg(
        b_i=(pl.col(LABEL) - mean).sum() / (_ITEM_DAMPING + pl.len())
    )
    of_user = (
        known.join(of_item, on="item")
        .group_by("user")
        .agg(b_u=(pl.col(LABEL) - mean - pl.col("b_i")).sum() / (_USER_DAMPING + pl.len()))
    )
    rival = mean + pl.col("b_i").fill_null(0.0) + pl.col("b_u").fill_null(0.0)
    rival = rival.clip(float(ratings.min()), float(ratings.max()))
    frame = (
        sampled.join(of_item, on="item", how="left")
        .join(of_user, on="user", how="left")
        .with_columns(rival.alias(f"{RIVAL_PREFIX}biases"))
        .drop("b_i", "b_u")
    )
    return frame, held_out.height - sampled.height


def _rated(events_dir: Path, *splits: str) -> pl.DataFrame:
    """Return user, item and label of the rated events; empty when the log has no ratings."""
    schema = pl.scan_parquet(str(events_dir / splits[0] / "*.parquet")).collect_schema()
    if "rating" not in schema:
        return pl.DataFrame(schema={"user": pl.String, "item": pl.String, LABEL: pl.Float64})
    rating = pl.col("rating").cast(pl.Float64)
    rated = scan_split(events_dir, *splits, columns=("user", "item", "rating"))
    return rated.filter(rating.is_finite()).select("user", "item", rating.alias(LABEL)).collect()


def clicked_pairs(
    events_dir: Path, catalogue_dir: Path, settings: ExampleSettings
) -> tuple[pl.DataFrame, int]:
    """Return events and drawn pairs with the rival's answer, and how many events were left out.

    The drawn pairs are a part of the most examples that the settings allow.
    """
    taken = scan_split(events_dir, "test").select("user", "item").unique().sort("user", "item")
    held_out = taken.collect()
    most = max(settings.max_examples // (1 + NEGATIVES), 1)
    sampled = held_out.sample(min(most, held_out.height), seed=settings.seed)
    catalogue = scan_catalogue(catalogue_dir)
    items = catalogue.select(pl.col("item").unique().sort()).collect()
    draws = np.random.default_rng(settings.seed).integers(0, len(items), NEGATIVES * len(sampled))
    drawn = pl.DataFrame(
        {
            "user": sampled["user"].gather(np.repeat(np.arange(len(sampled)), NEGATIVES)),
            "item": items["item"].gather(draws),
        }
    ).join(held_out, on=["user", "item"], how="anti")
    counts = scan_split(events_dir, "train", "eval").group_by("item").agg(events=pl.len()).collect()
    known = items.join(counts, on="item", how="left").with_columns(pl.col("events").fill_null(0))
    share = (pl.col("events") + 0.5) / (pl.col("events").sum() + 0.5 * len(items))
    name = f"{RIVAL_PREFIX}popularity"
    rival = known.select("item", (share * len(items)).log().alias(name))
    pairs = pl.concat(
        [
            part.with_columns(pl.lit(label).alias(LABEL))
            for part, label in ((sampled, 1.0), (drawn, 0.0))
        ]
    )
    frame = pairs.join(rival, on="item", how="left")
    frame = frame.with_columns(pl.col(name).fill_null(rival[name].min()))
    return frame, held_out.height - sampled.height


_PAIRS: Mapping[str, Callable[[Path, Path, ExampleSettings], tuple[pl.DataFrame, int]]] = {
    "rating": rated_pairs,
    "click": clicked_pairs,
}
