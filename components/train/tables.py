"""Parquet columns through the transform graph, batch by batch, into numpy arrays."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform as tft

from components.errors import InputError

_CHUNK_ROWS = 100_000
_Number = TypeVar("_Number", bound=np.generic)


class FeatureGraph:
    """The transform graph, applied to columns.

    Attributes:
        layer: The graph as a callable: raw tensors by name → transformed tensors by name.
        vocabulary: Entries by feature, without the OOV buckets.
        oov_buckets: Buckets after each vocabulary.
        outputs: Names of the transformed features.
    """

    def __init__(self, transform_graph_dir: Path) -> None:
        """Load the graph.

        Raises:
            InputError: If the folder holds no transform graph.
        """
        if not (transform_graph_dir / "transform_fn" / "saved_model.pb").is_file():
            raise InputError(
                str(transform_graph_dir), "no transform_fn", "a fitted transform graph"
            )
        self._loaded = tft.TFTransformOutput(str(transform_graph_dir))
        self.layer = self._loaded.transform_features_layer()
        self.outputs = sorted(self._loaded.transformed_feature_spec())
        # A text's vocabulary has no domain in the metadata, so all sizes come from the assets.
        self.vocabulary: dict[str, int] = {
            name: self._loaded.vocabulary_size_by_name(name)
            for name in self.named("_id") + self.named("_tokens")
        }
        domains = {f.name: f.int_domain for f in self._loaded.transformed_metadata.schema.feature}
        self.oov_buckets: int = int(domains["item_id"].max) + 1 - self.vocabulary["item"]

    def named(self, suffix: str) -> list[str]:
        """Return the raw features that have an output with this suffix ("_id", "_z", …)."""
        return [name.removesuffix(suffix) for name in self.outputs if name.endswith(suffix)]

    def size(self, name: str) -> int:
        """Return the number of different indices of a feature, OOV buckets included."""
        return int(self.vocabulary[name]) + self.oov_buckets

    def entries(self, name: str) -> npt.NDArray[np.object_]:
        """Return a vocabulary's entries as bytes, in order of their index."""
        return np.array(self._loaded.vocabulary_by_name(name), dtype=object)

    def encode(self, column: pa.ChunkedArray, name: str) -> npt.NDArray[np.int32]:
        """Return `<name>_id` of a column, [rows]; each distinct value passes the graph once."""

        def ids(entries: pa.Array) -> npt.NDArray[np.int32]:
            return np.asarray(self.layer({name: string_tensor(entries)})[f"{name}_id"], np.int32)

        return of_distinct(column, ids)

    def tokens(self, column: pa.ChunkedArray, name: str, most: int) -> npt.NDArray[np.int32]:
        """Return the first `most` of `<name>_tokens`, [rows, most]; −1 after the last."""
        values = column.combine_chunks().fill_null("")
        rows = []
        for start in range(0, len(values), _CHUNK_ROWS):
            chunk = string_tensor(values.slice(start, _CHUNK_ROWS))
            dense = tf.sparse.to_dense(self.layer({name: chunk})[f"{name}_tokens"], -1)
            rows.append(
                np.asarray(tf.pad(dense, [[0, 0], [0, most]], constant_values=-1)[:, :most])
            )
        return np.concatenate(rows).astype(np.int32)

    def z_score(self, column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float32]:
        """Return `<name>_z` of a column, [rows]; NaN where the column has no value."""
        values = column.cast(pa.float32()).to_numpy().copy()
        present = np.flatnonzero(np.isfinite(values))
        indices = np.stack([present, np.zeros_like(present)], axis=1)
        raw = tf.SparseTensor(indices, values[present], [len(values), 1])
        z = np.asarray(self.layer({name: raw})[f"{name}_z"], np.float32).copy()
        z[~np.isfinite(values)] = np.nan
        return z


def string_tensor(values: pa.Array) -> tf.Tensor:
    """Copy an Arrow string array without nulls into a tensor [rows]."""
    return tf.constant(values.cast(pa.large_binary()).to_numpy(zero_copy_only=False), tf.string)


def of_distinct(
    column: pa.ChunkedArray, function: Callable[[pa.Array], npt.NDArray[_Number]]
) -> npt.NDArray[_Number]:
    """Return a function of each value of a string column, asked for the distinct values alone.

    Args:
        column: Strings, [rows]; null counts as "".
        function: Distinct strings [n] → numbers [n].
    """
    encoded = pc.dictionary_encode(column.combine_chunks().fill_null(""))
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    place: npt.NDArray[np.int64] = np.asarray(encoded.indices, np.int64)
    return function(encoded.dictionary)[place]


def read_columns(folder: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of every Parquet file in a folder, in order of name, into memory.

    Raises:
        InputError: If there is no file, one cannot be read, or a column is missing.
    """
    return pa.concat_tables(stream_columns(folder, columns))


def stream_columns(
    folder: Path, columns: Sequence[str], *, optional: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Yield columns of every Parquet file in a folder, in order of name, some rows at a time.

    Args:
        folder: The folder.
        columns: Columns that must be there.
        optional: Columns that are read when the first file has them.

    Raises:
        InputError: If there is no file, one cannot be read, or a column is missing.
    """
    files = parquet_files(folder)
    try:
        first = pq.read_schema(files[0])
        columns = [*columns, *(name for name in optional if name in first.names)]
        for file in files:
            missing = sorted(set(columns) - set(pq.read_schema(file).names))
            if missing:
                raise InputError(f"{file}, column {missing[0]}", "no such column", "it")
        for file in files:
            with pq.ParquetFile(file) as opened:
                if not opened.metadata.num_rows:
                    yield opened.schema_arrow.empty_table().select(columns)
                for batch in opened.iter_batches(_CHUNK_ROWS, columns=columns):
                    yield pa.Table.from_batches([batch]).select(columns)
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(folder), str(error), "readable Parquet files") from error


def parquet_files(folder: Path) -> list[Path]:
    """Return a folder's Parquet files in order of name.

    Raises:
        InputError: If there is none.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(str(folder), "no Parquet file", "part-*.parquet")
    return files
