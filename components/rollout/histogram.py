"""Reading latency histograms: how many requests took at most each of some bounds.

Requests are taken as spread evenly inside their bucket, as Prometheus' histogram_quantile does.
All functions take arrays; leading axes are independent histograms.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]


def quantile_of(cumulative: ArrayLike, bounds: ArrayLike, quantile: float) -> Array:
    """Return a quantile; inf when it is in the open bucket, which says no more.

    Args:
        cumulative: Requests that took at most each bound, shape [..., bounds]; at least one in all.
        bounds: Upper bounds, rising, shape [bounds].
        quantile: Between 0 and 1.

    Returns:
        In the bounds' unit, shape [...].
    """
    counts, upper = np.asarray(cumulative, dtype=float), np.asarray(bounds, dtype=float)
    rank = quantile * counts[..., -1:]
    bucket = np.argmax(counts >= rank, axis=-1)[..., None]
    below, inside, low, width = _bucket(counts, upper, bucket)
    found = low + width * (rank - below) / np.maximum(inside, 1.0)
    return np.where(np.isinf(upper[bucket]), np.inf, found)[..., 0]


def slower_than(cumulative: ArrayLike, bounds: ArrayLike, limits: ArrayLike) -> Array:
    """Return how many requests took longer than each limit, in parts of a request.

    Args:
        cumulative: Requests that took at most each bound, shape [..., bounds]; at least one in all.
        bounds: Upper bounds, rising, shape [bounds].
        limits: Limits, shape [..., limits].

    Returns:
        Counts, shape [..., limits].
    """
    counts, upper = np.asarray(cumulative, dtype=float), np.asarray(bounds, dtype=float)
    asked = np.asarray(limits, dtype=float)
    bucket = np.minimum(np.searchsorted(upper, asked), len(upper) - 1)
    below, inside, low, width = _bucket(counts, upper, bucket)
    # All of the open bucket is slower than any limit in it.
    share = np.divide(asked - low, width, out=np.zeros_like(low), where=width > 0)
    return counts[..., -1:] - below - inside * np.minimum(share, 1.0)


def _bucket(
    counts: Array, upper: Array, bucket: NDArray[np.intp]
) -> tuple[Array, Array, Array, Array]:
    """Return what is faster than a bucket, what is in it, its lower bound, its width (0: open)."""
    first, previous = bucket == 0, np.maximum(bucket - 1, 0)
    below = np.where(first, 0.0, np.take_along_axis(counts, previous, axis=-1))
    inside = np.take_along_axis(counts, bucket, axis=-1) - below
    low = np.where(first, 0.0, upper[previous])
    high = np.where(np.isinf(upper[bucket]), low, upper[bucket])
    return below, inside, low, high - low
