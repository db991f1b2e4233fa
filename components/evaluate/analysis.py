"""The TFMA run: models and baselines, sliced, with confidence intervals."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.extractors import features_extractor, predictions_extractor
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from components.beam_exchange import exchange
from components.beam_runner import pipeline_options
from components.evaluate.examples import read_batch, write_examples
from components.evaluate.gate import OVERALL
from components.evaluate.household_slices import RIVAL_PREFIX, HouseholdSlices
from components.evaluate.jackknife import draw_groups
from components.evaluate.rank_metrics import EXAMPLES
from components.evaluate.slices import SLICE_COLUMNS

CONFIDENCE = 0.95  # TFMA writes intervals of this level and no other


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number of the evaluation.

    Attributes:
        model: "candidate", "live", a baseline, or a difference such as "candidate-live".
        metric: For example "ndcg@10".
        slice: "overall" or "column=value".
        value: NaN when there was nothing to measure.
        low: Lower end of the 95 % confidence interval; NaN when there is none.
        high: Upper end.
        examples: Examples in the slice.
    """

    model: str
    metric: str
    slice: str
    value: float
    low: float
    high: float
    examples: int


def analyse(
    frame: pl.DataFrame,
    models: Mapping[str, Path],
    *,
    signature: str,
    metric: type[metric_types.Metric],
    metric_settings: Mapping[str, Any],
    output_dir: Path,
    seed: int,
    batch_rows: int = 64,
    beam_options: Sequence[str] = (),
) -> list[Measurement]:
    """Run TFMA over examples and read its results back.

    Args:
        frame: Examples sorted by user: user, item, history, slice columns, a column "rival_<name>"
            for each rival, and "label" when the metric needs one.
        models: SavedModel directories by name; the first is the candidate, to which every other
            model and rival is compared.
        signature: Signature that each model is asked by; it has one output, [rows].
        metric: What is measured: a class that takes `models`, the names of everything measured.
        metric_settings: Its other settings.
        output_dir: TFMA's output, readable by `tfma.load_eval_result`.
        seed: Of the jackknife's assignment of households to its 20 groups.
        batch_rows: Rows a model sees at once. Few, because scores are rows × items: allocations of
            over 32 MB go back to the system each time, and that costs more than larger batches win.
        beam_options: Beam pipeline options; none means the local runner.
    """
    rivals = [c.removeprefix(RIVAL_PREFIX) for c in frame.columns if c.startswith(RIVAL_PREFIX)]
    columns = [column for column in SLICE_COLUMNS if column in frame.columns]
    measured = config_pb2.MetricConfig(
        class_name=metric.__name__,
        module=metric.__module__,
        config=json.dumps({"models": [*models, *rivals], **metric_settings}),
    )
    config = _eval_config([*models], measured, signature=signature, columns=columns)
    frame = draw_groups(frame, seed=seed)
    # The pipeline reads the rows; rows inside its definition would be pickled and compressed.
    path = output_dir / "examples.parquet"
    row_groups = write_examples(frame, path, rows=batch_rows)
    options = pipeline_options(beam_options)
    with exchange(options) as files, files.take(output_dir, "evaluation") as written:
        examples = files.give(path, path.name)
        shared = [
            tfma.default_eval_shared_model(
                eval_saved_model_path=files.give(path, f"models/{name}"),
                model_name=name,
                eval_config=config,
            )
            for name, path in models.items()
        ]
        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | "RowGroups" >> beam.Create(range(row_groups), reshuffle=False)
                | "Spread" >> beam.Reshuffle()
                | "Read" >> beam.Map(partial(read_batch, examples))
                | "Extracts" >> tfma.BatchedInputsToExtracts()
                | "Evaluate"
                >> tfma.ExtractEvaluateAndWriteResults(
                    eval_config=config,
                    eval_shared_model=shared,
                    output_path=written,
                    extractors=[
                        features_extractor.FeaturesExtractor(config, _representations(frame)),
                        predictions_extractor.PredictionsExtractor(config, shared),
                        HouseholdSlices(models=[*models], columns=columns),
                    ],
                )
            )
    return sorted(_measurements(output_dir), key=lambda m: (m.slice != OVERALL, m.slice))


def _eval_config(
    models: list[str],
    metric: config_pb2.MetricConfig,
    *,
    signature: str,
    columns: Sequence[str],
) -> config_pb2.EvalConfig:
    options = config_pb2.Options()
    options.include_default_metrics.value = False
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(name=name, signature_name=signature, model_type="tf_generic")
            for name in models
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[column]) for column in columns),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[metric])],
        options=options,
    )


def _representations(frame: pl.DataFrame) -> dict[str, schema_pb2.TensorRepresentation]:
    """Say that every column is dense: scalars of shape [batch], the history [batch, length]."""
    representations = {}
    for name, dtype in frame.schema.items():
        dense = schema_pb2.TensorRepresentation.DenseTensor(column_name=name)
        if isinstance(dtype, pl.List):
            dense.shape.dim.add(size=len(frame[name][0]))
        representations[name] = schema_pb2.TensorRepresentation(dense_tensor=dense)
    return representations


def _measurements(output_dir: Path) -> Iterator[Measurement]:
    for sliced in tfma.load_metrics(str(output_dir)):
        yield from _of_slice(sliced)


def _of_slice(sliced: metrics_for_slice_pb2.MetricsForSlice) -> Iterator[Measurement]:
    name = OVERALL
    for key in sliced.slice_key.single_slice_keys:
        name = f"{key.column}={key.bytes_value.decode()}"
    found = {(pair.key.model_name, pair.key.name): pair for pair in sliced.metric_keys_and_values}
    examples = round(found[("", EXAMPLES)].value.double_value.value)
    for (model, metric), pair in found.items():
        if not model:
            continue
        low = high = math.nan
        if pair.HasField("confidence_interval"):
            low = pair.confidence_interval.lower_bound.double_value.value
            high = pair.confidence_interval.upper_bound.double_value.value
        yield Measurement(model, metric, name, pair.value.double_value.value, low, high, examples)
