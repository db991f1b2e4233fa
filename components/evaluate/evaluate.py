"""The step's work: examples, TFMA, coverage, the gate, the report."""

import dataclasses
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from components.beam_runner import pipeline_options
from components.checksum import tree_digest
from components.errors import InputError
from components.evaluate.analysis import CONFIDENCE, Measurement, analyse
from components.evaluate.baselines import fit_baselines
from components.evaluate.evaluation_report import Findings, write_report
from components.evaluate.examples import ExampleSettings, make_examples
from components.evaluate.gate import (
    OVERALL,
    Blessing,
    Threshold,
    decide_blessing,
    metric_key,
    parse_thresholds,
)
from components.evaluate.household_slices import RIVAL_PREFIX
from components.evaluate.importance import measure_importance
from components.evaluate.predictions import (
    measure_predictions,
    predicted_kind,
    signatures_of,
)
from components.evaluate.rank_metrics import RankMetrics, metric_names
from components.evaluate.recommendations import recommend

_LOG = logging.getLogger(__name__)

# The candidate must beat both rivals that know no household, beyond chance, and must not be worse
# than what is in service by more than chance allows. household_frequency is shown and not asked
# for: in a shop of repeat purchases it is a strong model, and one without discovery.
DEFAULT_THRESHOLDS = """[
  {"kind": "beats", "metric": "ndcg@10", "baseline": "popularity", "confident": true},
  {"kind": "beats", "metric": "ndcg@10", "baseline": "item_cooccurrence"},
  {"kind": "not_worse_than_live", "metric": "ndcg@10", "bound": 0.005, "confident": true}
]"""
# A model of ratings orders items by how they would be rated, which is not what is taken next: it is
# asked for what it learned.
RATING_THRESHOLDS = """[
  {"kind": "beats", "metric": "rmse", "baseline": "biases", "confident": true},
  {"kind": "not_worse_than_live", "metric": "rmse", "bound": 0.005, "confident": true}
]"""


@dataclasses.dataclass(frozen=True)
class EvaluateSettings:
    """Settings of the step.

    Attributes:
        thresholds: What the gate asks for; none means the defaults of what the model predicts.
        k: Cut-off of HR@k, NDCG@k and coverage@k.
        examples: How examples are sampled.
        beam_options: Options of TFMA's Beam pipeline; none means the local runner.
        max_reference_drop: Most NDCG@k, and of a model of ratings RMSE, that a candidate may lose
            against its reference model, at the worse end of the interval; nothing without one.
    """

    thresholds: tuple[Threshold, ...]
    k: int = 10
    examples: ExampleSettings = ExampleSettings()
    beam_options: tuple[str, ...] = ()
    max_reference_drop: float = 0.001

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises:
            InputError: Names the setting.
        """
        if not 0 <= self.max_reference_drop < math.inf:
            raise InputError(
                "max_reference_drop", str(self.max_reference_drop), "a finite number ≥ 0"
            )
        for name, value in (("k", self.k), ("max_examples", self.examples.max_examples)):
            if value < 1:
                raise InputError(name, str(value), "a whole number ≥ 1")


def evaluate_settings(
    *,
    thresholds: str,
    k: int,
    max_examples: int,
    max_drop: float = 0.001,
    beam_options: Sequence[str] = (),
) -> EvaluateSettings:
    """Make settings of the step's parameters.

    Args:
        thresholds: JSON, see `components.evaluate.gate`; "" is `RATING_THRESHOLDS` for a model of
            ratings and `DEFAULT_THRESHOLDS` for any other.
        k: Cut-off.
        max_examples: Examples to sample at most.
        max_drop: `EvaluateSettings.max_reference_drop`.
        beam_options: Options of TFMA's Beam pipeline, see `components.beam_runner`.

    Raises:
        InputError: If a parameter is not valid.
    """
    return EvaluateSettings(
        parse_thresholds(thresholds) if thresholds.strip() else (),
        k=k,
        examples=ExampleSettings(max_examples=max_examples),
        max_reference_drop=max_drop,
        beam_options=tuple(beam_options),
    )


def evaluate(
    *,
    events_dir: Path,
    catalogue_dir: Path,
    model_dir: Path,
    live_model_dir: Path | None,
    evaluation_dir: Path,
    blessing_path: Path,
    report_path: Path,
    settings: EvaluateSettings,
    reference_model_dir: Path | None = None,
) -> Blessing:
    """Measure a candidate on the test window and decide whether it may be published.

    Args:
        events_dir: Events, split by time.
        catalogue_dir: Catalogue.
        model_dir: The candidate's SavedModel.
        live_model_dir: SavedModel of the model in service; None when there is none.
        evaluation_dir: Gets TFMA's output, the examples and metrics.json.
        blessing_path: Gets the decision.
        report_path: Gets the page for people.
        settings: Thresholds, sampling and cut-off.
        reference_model_dir: SavedModel that the candidate was made of, which it must not be worse
            than; None when it was trained.

    Returns:
        The decision, about exactly the bytes of `model_dir`.

    Raises:
        InputError: If there is nothing to evaluate or on.
    """
    beside = {"live": live_model_dir, "reference": reference_model_dir}
    models = {"candidate": model_dir} | {name: path for name, path in beside.items() if path}
    for path in models.values():
        signatures = signatures_of(path)
        if missing := {"evaluate", "recommend"} - signatures:
            raise InputError(
                str(path), f"signatures {sorted(signatures)}", f"{sorted(missing)}, too"
            )
    pipeline_options(settings.beam_options)  # a mistake there is told before the work begins
    digest = tree_digest(model_dir)
    examples = make_examples(events_dir, catalogue_dir, settings=settings.examples)
    ranks = fit_baselines(events_dir, catalogue_dir).ranks(examples.frame)
    frame = pl.concat(
        [examples.frame, ranks.rename(lambda name: f"{RIVAL_PREFIX}{name}")], how="horizontal"
    )
    measurements = analyse(
        frame,
        models,
        signature="evaluate",
        metric=RankMetrics,
        metric_settings={"k": settings.k},
        output_dir=evaluation_dir,
        seed=settings.examples.seed,
        beam_options=settings.beam_options,
    )
    predictions = measure_predictions(
        models,
        events_dir=events_dir,
        catalogue_dir=catalogue_dir,
        output_dir=evaluation_dir / "predictions",
        settings=settings.examples,
        beam_options=settings.beam_options,
    )
    lists = recommend(model_dir, examples.frame, k=settings.k)
    measurements += predictions.measurements if predictions else ()
    coverage = metric_key("candidate", f"coverage@{settings.k}", OVERALL)
    metrics = flatten(measurements) | {
        coverage: lists.coverage,
        "examples": examples.frame.height,
        "examples_left_out": examples.left_out,
        "users": lists.frame.height,
        "indexed_items": lists.indexed_items,
        "confidence_level": CONFIDENCE,
        "live": int(live_model_dir is not None),
    }
    if predictions:
        metrics |= {
            f"{predictions.kind}_examples": predictions.examples,
            f"{predictions.kind}_events_left_out": predictions.left_out,
        }
    text = json.dumps(metrics, indent=1, allow_nan=False)
    (evaluation_dir / "metrics.json").write_text(text + "\n", encoding="utf-8")
    rates = predicted_kind(model_dir) == "rating"
    default = RATING_THRESHOLDS if rates else DEFAULT_THRESHOLDS
    thresholds = settings.thresholds or parse_thresholds(default)
    if reference_model_dir:
        bound = settings.max_reference_drop
        thresholds += tuple(
            Threshold("not_worse_than_reference", kept, bound=bound, confident=True)
            for kept in (metric_names(settings.k)[1], *(("rmse",) if rates else ()))
        )
    blessing = decide_blessing(metrics, thresholds, digest)
    importance = measure_importance(
        model_dir, examples.frame, k=settings.k, seed=settings.examples.seed
    )
    findings = Findings(
        blessing=blessing,
        measurements=tuple(measurements),
        examples=examples,
        recommendations=lists,
        k=settings.k,
        importance=importance,
        predictions=predictions,
    )
    write_report(report_path, findings, catalogue_dir=catalogue_dir)
    blessing.write(blessing_path)
    _LOG.info(
        "evaluate: %s examples of %s users, %s left out; blessed: %s (%s)",
        f"{examples.frame.height:,}",
        f"{lists.frame.height:,}",
        f"{examples.left_out:,}",
        blessing.blessed,
        blessing.reason,
    )
    return blessing


def flatten(measurements: Sequence[Measurement]) -> dict[str, float | None]:
    """Return numbers by `metric_key`, with "/low" and "/high" for the interval; NaN as None."""
    flat: dict[str, float | None] = {}
    for one in measurements:
        key = metric_key(one.model, one.metric, one.slice)
        for suffix, value in (("", one.value), ("/low", one.low), ("/high", one.high)):
            flat[key + suffix] = value if math.isfinite(value) else None
    return flat
