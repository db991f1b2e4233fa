"""Parquet as Arrow record batches in the form TensorFlow Transform reads: list columns."""

from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio import tensor_adapter

from components.errors import InputError
from components.preprocess.features import FeaturePlan


def split_files(split_dir: Path) -> list[Path]:
    """Return a split's Parquet files in order of name.

    Raises:
        InputError: If there is none.
    """
    files = sorted(split_dir.glob("*.parquet"))
    if not files:
        raise InputError(str(split_dir), "no Parquet file", "part-*.parquet")
    return files


def arrow_schema(plan: FeaturePlan) -> pa.Schema:
    """Return the schema of the record batches: one list column per feature."""
    strings = [pa.field(name, pa.list_(pa.large_binary())) for name in plan.strings]
    return pa.schema(strings + [pa.field(name, pa.list_(pa.float32())) for name in plan.numeric])


def adapter_config(plan: FeaturePlan) -> tensor_adapter.TensorAdapterConfig:
    """Say which tensor each column becomes.

    A string is dense, shape [rows], and "" when missing; a number is sparse, shape [rows, 1], so
    that a missing one has no part in a mean or a quantile.
    """
    representations = {}
    for name in plan.strings:
        text = schema_pb2.TensorRepresentation()
        text.dense_tensor.column_name = name
        text.dense_tensor.shape.SetInParent()
        representations[name] = text
    for name in plan.numeric:
        number = schema_pb2.TensorRepresentation()
        number.varlen_sparse_tensor.column_name = name
        representations[name] = number
    return tensor_adapter.TensorAdapterConfig(arrow_schema(plan), representations)


def as_lists(values: pa.Array, value_type: pa.DataType) -> pa.ListArray:
    """Turn a flat column into a list column.

    A missing string becomes [""]; a missing, NaN or infinite number becomes [].
    """
    values = values.cast(value_type)
    if pa.types.is_floating(value_type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, value_type))
        lengths = pc.cast(values.is_valid(), pa.int32()).to_numpy(zero_copy_only=False)
        ends = np.cumsum(lengths, dtype=np.int32)
        values = values.drop_null()
    else:
        values = values.fill_null(b"")
        ends = np.arange(1, len(values) + 1, dtype=np.int32)
    return pa.ListArray.from_arrays(np.concatenate([np.zeros(1, np.int32), ends]), values)


def count_rows(file: Path, plan: FeaturePlan) -> int:
    """Return a file's number of rows, having checked that it can be read and has every column.

    Checked before Beam starts, because a runner shows a worker's error as its own.

    Raises:
        InputError: If the file is not Parquet, lacks a feature, or has one in a type that does not
            convert.
    """
    try:
        parquet = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(file), str(error), "a readable Parquet file") from error
    with parquet:
        columns = {field.name: field.type for field in parquet.schema_arrow}
        for name in plan.names:
            if name not in columns:
                raise InputError(f"{file}, column {name}", "no such column", "it, as in the schema")
            number = pa.types.is_floating(columns[name]) or pa.types.is_integer(columns[name])
            if number != (name in plan.numeric):
                wanted = "a number" if name in plan.numeric else "a string"
                raise InputError(f"{file}, column {name}", str(columns[name]), wanted)
        return int(parquet.metadata.num_rows)


def record_batches(file: str, plan: FeaturePlan, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Read one Parquet file, a path or gs://, as record batches of list columns."""
    fields = arrow_schema(plan)
    with FileSystems.open(file) as opened, pq.ParquetFile(opened) as parquet:
        for batch in parquet.iter_batches(batch_rows, columns=list(plan.names)):
            lists = [as_lists(batch[field.name], field.type.value_type) for field in fields]
            yield pa.RecordBatch.from_arrays(lists, schema=fields)


class ReadSplit(beam.PTransform):  # type: ignore[misc]  # beam ships no types
    """Read files of one split as a collection of record batches; a file is the unit of work."""

    def __init__(self, files: list[str], plan: FeaturePlan, batch_rows: int) -> None:
        """Remember what to read; nothing is opened before the pipeline runs."""
        super().__init__()
        self._files, self._plan, self._batch_rows = files, plan, batch_rows

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Make one element per file, spread them over the workers, and read."""
        return (
            pbegin
            | "Files" >> beam.Create(self._files)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(record_batches, self._plan, self._batch_rows)
        )
