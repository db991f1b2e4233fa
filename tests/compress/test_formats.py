import numpy as np
import pytest
import tensorflow as tf

from components.compress.formats import FORMATS, find_format
from components.errors import InputError
from components.quantised_tables import pack_rows, unpack_rows, widened


def test_a_row_is_whole_numbers_and_its_scale():
    # Scale of the first row: 2.54 / 127 = 0.02, so 1.0 is 50 and −2.54 is −127; a row of zeros: 0.
    table = np.array([[1.0, -2.54, 0.01], [0.0, 0.0, 0.0]], np.float32)
    packed = pack_rows(table)
    assert packed.shape == (2, 3 + 4)
    assert packed[0, :2].tolist() == [50, -127]
    assert packed[1].tolist() == [0] * 7
    np.testing.assert_allclose(unpack_rows(packed)[0, :2], [1.0, -2.54], rtol=1e-6)


def test_no_number_moves_by_more_than_half_a_step():
    table = np.random.default_rng(1).normal(size=(500, 32)).astype(np.float32)
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(unpack_rows(pack_rows(table)) - table) <= 0.501 * step).all()


@pytest.mark.parametrize("name", FORMATS)
def test_a_graph_reads_what_is_stored(name):
    table_format = FORMATS[name]
    random = np.random.default_rng(2)
    table = random.normal(size=(300, 16)).astype(np.float32)
    queries = random.normal(size=(5, 16)).astype(np.float32)
    stored = tf.constant(table_format.store(table))
    assert stored.dtype == table_format.dtype
    wide = widened(stored.numpy())
    np.testing.assert_allclose(table_format.widen(stored), wide, rtol=1e-6)
    np.testing.assert_allclose(
        table_format.product(tf.constant(queries), stored), queries @ wide.T, rtol=1e-4, atol=1e-5
    )
    # Row 0 names items 7 and 7, row 1 nothing, row 2 item 299.
    cells = tf.constant([[0, 7], [0, 7], [2, 299]], tf.int64)
    found = table_format.sparse_product(
        cells, tf.constant([1.0, 2.0, -1.0]), tf.constant([3, 300], tf.int64), stored
    )
    expected = np.stack([3 * wide[7], 0 * wide[0], -wide[299]])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_format_there_is_not_is_refused_by_name():
    with pytest.raises(InputError, match="'int4', expected none, float16 or int8"):
        find_format("int4")
