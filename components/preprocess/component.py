"""The preprocess step as a KFP component."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def preprocess(
    events: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    transform_graph: dsl.Output[dsl.Artifact],
    beam_options: list[str] = [],  # noqa: B006 - KFP reads the default and never changes it
    vocabulary_size: int = 200_000,
    min_frequency: int = 1,
    oov_buckets: int = 8,
    numeric_buckets: int = 10,
    ngrams: int = 2,
) -> None:
    """Fit the transform graph on the train split.

    Args:
        events: Parquet, split into train, eval and test.
        schema: tensorflow_metadata Schema of the events, text proto.
        transform_graph: TensorFlow Transform output.
        beam_options: Beam pipeline options, see docs/beam.md; empty = in this process.
        vocabulary_size: Most entries of one vocabulary.
        min_frequency: Events an entry needs to be in its vocabulary.
        oov_buckets: Buckets for unknown entries.
        numeric_buckets: Quantile buckets of a number.
        ngrams: Longest n-gram of words of a text.
    """
    from pathlib import Path

    from components.preprocess.settings import PreprocessSettings
    from components.preprocess.transform import fit_transform_graph

    fit_transform_graph(
        events_dir=Path(events.path),
        schema_path=Path(schema.path),
        transform_graph_dir=Path(transform_graph.path),
        settings=PreprocessSettings(
            vocabulary_size=vocabulary_size, min_frequency=min_frequency, oov_buckets=oov_buckets,
            numeric_buckets=numeric_buckets, ngrams=ngrams,
        ),
        beam_options=beam_options,
    )  # fmt: skip
