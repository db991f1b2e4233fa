"""Fit the transform graph: one Beam pass over the train split's columns."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions

from components.beam_exchange import exchange
from components.beam_runner import pipeline_options
from components.errors import InputError
from components.preprocess.batches import ReadSplit, adapter_config, count_rows, split_files
from components.preprocess.features import FeaturePlan, plan_features, read_schema
from components.preprocess.settings import PreprocessSettings

_log = logging.getLogger(__name__)
# Letters and digits of any script; everything else separates words.
_NOT_A_WORD = r"[^\p{L}\p{N}]+"

PreprocessingFn = Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]


def preprocessing_fn(plan: FeaturePlan, settings: PreprocessSettings) -> PreprocessingFn:
    """Return the function TensorFlow Transform traces into the graph.

    Its inputs are strings [B] ("" when missing) and sparse float32 numbers [B, 1]. Its outputs:

    * `<id>_id`, `<categorical>_id`: int64 [B], index in the vocabulary named like the feature,
      most frequent first; unknown and missing go to one of the OOV buckets after it.
    * `<text>_tokens`: sparse int64 [B, n], indices of the lower-cased words and n-grams.
    * `<numeric>_z`: float32 [B], (x − mean) / standard deviation, 0 when missing.
    * `<numeric>_bucket`: int64 [B], 1 + quantile bucket, 0 when missing.
    """

    def vocabulary(strings: tf.Tensor, name: str, weights: tf.Tensor) -> tf.Tensor:
        return tft.vocabulary(
            strings,
            top_k=settings.vocabulary_size,
            frequency_threshold=settings.min_frequency if settings.min_frequency > 1 else None,
            weights=weights,
            vocab_filename=name,
            name=name,
        )

    def index(strings: tf.Tensor, entries: tf.Tensor) -> tf.Tensor:
        return tft.apply_vocabulary(strings, entries, num_oov_buckets=settings.oov_buckets)

    def tokens(strings: tf.Tensor, name: str) -> tf.SparseTensor:
        # A popular product's title is in a batch a thousand times: it is cut into words once.
        titles, row, count = tf.unique_with_counts(strings)
        lower = tf.strings.lower(titles, encoding="utf-8")
        words = tf.strings.split(tf.strings.regex_replace(lower, _NOT_A_WORD, " ")).to_sparse()
        grams = tft.ngrams(words, (1, settings.ngrams), separator=" ")
        weights = tf.cast(tf.gather(count, grams.indices[:, 0]), tf.float32)
        ids = index(grams, vocabulary(grams.values, name, weights))
        return tf.gather(tf.RaggedTensor.from_sparse(ids), row).to_sparse()

    def transform(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = {}
        for name in plan.ids + plan.categorical:
            # Without weights, Beam is handed every row instead of a batch's distinct values.
            ones = tf.ones_like(inputs[name], tf.float32)
            outputs[f"{name}_id"] = index(inputs[name], vocabulary(inputs[name], name, ones))
        for name in plan.text:
            outputs[f"{name}_tokens"] = tokens(inputs[name], name)
        for name in plan.numeric:
            number = inputs[name]
            z = tft.sparse_tensor_to_dense_with_shape(tft.scale_to_z_score(number), [None, 1])
            buckets = tft.bucketize(number, settings.numeric_buckets)
            bucket = tf.SparseTensor(buckets.indices, buckets.values + 1, buckets.dense_shape)
            dense = tft.sparse_tensor_to_dense_with_shape(bucket, [None, 1])
            outputs[f"{name}_z"] = tf.squeeze(tf.cast(z, tf.float32), axis=1)
            outputs[f"{name}_bucket"] = tf.squeeze(dense, axis=1)
        return outputs

    return transform


def fit_transform_graph(
    *,
    events_dir: Path,
    schema_path: Path,
    transform_graph_dir: Path,
    settings: PreprocessSettings,
    beam_options: Sequence[str],
) -> int:
    """Fit vocabularies, means and quantiles on the train split and write the transform graph.

    Args:
        events_dir: Events artifact; only its train split is read, so nothing of the later splits
            reaches the graph.
        schema_path: Schema of the events, text proto.
        transform_graph_dir: Output folder, read by `tft.TFTransformOutput`.
        settings: Limits of vocabularies, buckets and n-grams.
        beam_options: Beam pipeline options, as docs/beam.md says; empty runs everything in this
            process.

    Returns:
        Rows of the train split.

    Raises:
        InputError: If the split is missing or empty, or does not fit the schema, or an option is
            not valid.
    """
    options = pipeline_options(beam_options)
    plan = plan_features(read_schema(schema_path))
    files = split_files(events_dir / "train")
    rows = sum(count_rows(file, plan) for file in files)
    if rows == 0:
        raise InputError(str(events_dir / "train"), "0 rows", "at least one event")
    _run(files, plan, transform_graph_dir, settings, options)
    _log.info("preprocess: %s rows, %d features", f"{rows:,}", len(plan.names))
    return rows


def _run(
    files: list[Path],
    plan: FeaturePlan,
    transform_graph_dir: Path,
    settings: PreprocessSettings,
    options: PipelineOptions,
) -> None:
    with exchange(options) as shared, shared.take(transform_graph_dir, "transform_graph") as graph:
        read = [shared.give(file, f"train/{file.name}") for file in files]
        context = tft_beam.Context(temp_dir=shared.path("tft"))
        with beam.Pipeline(options=options) as pipeline, context:
            batches = pipeline | ReadSplit(read, plan, settings.batch_rows)
            analyze = tft_beam.AnalyzeDataset(preprocessing_fn(plan, settings))
            fitted = (batches, adapter_config(plan)) | analyze
            _ = fitted | tft_beam.WriteTransformFn(graph)
