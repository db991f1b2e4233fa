"""Tables of float32 rows kept in fewer bytes: how they are written, and how they are read back."""

import numpy as np
import numpy.typing as npt

SCALE_BYTES = 4
_LARGEST = 127


def pack_rows(table: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return a table as int8, each row with a scale of its own behind it.

    Row r becomes round(x / s_r) with s_r = max|x_r| / 127, which is symmetric: 0 stays 0, and no
    number moves by more than s_r / 2. A row of zeros has s_r = 0.

    Args:
        table: Finite numbers, float32 [n, d].

    Returns:
        int8 [n, d + 4]; the last four bytes of a row are its scale, a little-endian float32.
    """
    scale = (np.abs(table).max(axis=1, initial=0.0) / _LARGEST).astype("<f4")
    rounded = np.rint(table / np.where(scale > 0, scale, 1.0)[:, None])
    whole = np.clip(rounded, -_LARGEST, _LARGEST).astype(np.int8)
    return np.concatenate([whole, scale[:, None].view(np.int8)], axis=1)


def unpack_rows(packed: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """Return what `pack_rows` was given, rounded, float32 [n, d]."""
    scale = np.ascontiguousarray(packed[:, -SCALE_BYTES:]).view("<f4")
    return np.asarray(packed[:, :-SCALE_BYTES] * scale, np.float32)


def widened(table: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return a table as float32, whether it was kept as float32, float16 or packed int8."""
    if table.dtype == np.int8:
        return unpack_rows(table.astype(np.int8))
    return table.astype(np.float32)
