"""The two ways a table is kept smaller: how it is stored, and how a graph reads it."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.compress.settings import check_table_format
from components.quantised_tables import SCALE_BYTES, pack_rows


class TableFormat(abc.ABC):
    """How a float32 table [n, d] is stored, and the ways in which a graph reads it.

    Every reader is given the stored tensor; only the rows that are asked for are widened.

    Attributes:
        dtype: Type of the stored numbers.
    """

    dtype: tf.DType

    @abc.abstractmethod
    def store(self, table: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the table as it is stored."""

    @abc.abstractmethod
    def widen(self, stored: tf.Tensor) -> tf.Tensor:
        """Return the float32 numbers of stored rows, [..., d]."""

    def product(self, queries: tf.Tensor, stored: tf.Tensor) -> tf.Tensor:
        """Return queries · tableᵀ, float32 [B, n]."""
        return tf.matmul(queries, self.widen(stored), transpose_b=True)

    def sparse_product(
        self, indices: tf.Tensor, values: tf.Tensor, shape: tf.Tensor, stored: tf.Tensor
    ) -> tf.Tensor:
        """Return sparse · table, float32 [rows, d]; widens the rows that the sparse matrix names.

        Args:
            indices: Row and column of each number, int64 [numbers, 2].
            values: Numbers, float32 [numbers].
            shape: Rows and n, int64 [2].
            stored: The stored table.
        """
        named, column = tf.unique(indices[:, 1], out_idx=tf.int64)
        rows = self.widen(tf.gather(stored, named))
        fewer = tf.SparseTensor(
            tf.stack([indices[:, 0], column], axis=1),
            values,
            tf.stack([shape[0], tf.shape(named, tf.int64)[0]]),
        )
        return tf.sparse.sparse_dense_matmul(fewer, rows)


class Float16(TableFormat):
    """Half precision: 11 significant bits."""

    dtype = tf.float16

    def store(self, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        """See `TableFormat.store`."""
        limit = np.finfo(np.float16).max
        return np.clip(table, -limit, limit).astype(np.float16)

    def widen(self, stored: tf.Tensor) -> tf.Tensor:
        """See `TableFormat.widen`."""
        return tf.cast(stored, tf.float32)


class Int8(TableFormat):
    """Eight bits and one scale a row; see `components/quantised_tables.py`."""

    dtype = tf.int8

    def store(self, table: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
        """See `TableFormat.store`."""
        return pack_rows(table)

    def widen(self, stored: tf.Tensor) -> tf.Tensor:
        """See `TableFormat.widen`."""
        numbers = tf.cast(stored[..., :-SCALE_BYTES], tf.float32)
        return numbers * self._scale(stored)[..., tf.newaxis]

    def product(self, queries: tf.Tensor, stored: tf.Tensor) -> tf.Tensor:
        """See `TableFormat.product`; scales the n results instead of the n × d numbers."""
        # The scale's bytes meet zeros, so that the table is not copied to cut them off.
        padded = tf.pad(queries, [[0, 0], [0, SCALE_BYTES]])
        found = tf.matmul(padded, tf.cast(stored, tf.float32), transpose_b=True)
        return found * self._scale(stored)

    @staticmethod
    def _scale(stored: tf.Tensor) -> tf.Tensor:
        return tf.bitcast(stored[..., -SCALE_BYTES:], tf.float32)


FORMATS: Mapping[str, TableFormat] = {"float16": Float16(), "int8": Int8()}


def find_format(name: str) -> TableFormat:
    """Return a format.

    Raises:
        InputError: If there is none of that name.
    """
    check_table_format(name)
    return FORMATS[name]
