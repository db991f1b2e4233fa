"""Quantiles and counts read from histograms, one and many at once."""

import math

import numpy as np
import pytest

from components.rollout.histogram import quantile_of, slower_than

BOUNDS = [10.0, 20.0, math.inf]
# 10 below 10 ms, 80 between 10 and 20, 10 above.
COUNTS = [10, 90, 100]


def test_quantile_is_linear_inside_its_bucket():
    # Rank 50 is 40/80 into the second bucket; rank 5 is half of the first.
    assert quantile_of(COUNTS, BOUNDS, 0.5) == pytest.approx(15.0)
    assert quantile_of(COUNTS, BOUNDS, 0.05) == pytest.approx(5.0)


def test_quantile_in_the_open_bucket_is_unknown():
    assert quantile_of(COUNTS, BOUNDS, 0.95) == math.inf
    assert quantile_of(COUNTS, BOUNDS, 0.90) == pytest.approx(20.0)


def test_slower_than_is_linear_inside_its_bucket():
    # 15 ms is half of the second bucket: 100 - (10 + 40) are slower.
    found = slower_than(COUNTS, BOUNDS, [0.0, 5.0, 15.0, 20.0])
    assert found == pytest.approx([100.0, 95.0, 50.0, 10.0])


def test_all_of_the_open_bucket_is_slower_and_nothing_is_slower_than_a_closed_histogram():
    assert slower_than(COUNTS, BOUNDS, [1e9]) == pytest.approx([10.0])
    assert slower_than([10, 100], [10.0, 20.0], [20.0, 25.0]) == pytest.approx([0.0, 0.0])


def test_many_histograms_are_read_as_each_alone():
    draw = np.random.default_rng(1)
    counts = draw.integers(1, 50, size=(7, 5)).cumsum(axis=-1)
    bounds, limits = [1.0, 2.0, 4.0, 8.0, math.inf], draw.uniform(0, 10, size=(7, 3))
    quantiles, slower = quantile_of(counts, bounds, 0.7), slower_than(counts, bounds, limits)
    for row in range(7):
        assert quantiles[row] == quantile_of(counts[row], bounds, 0.7)
        assert list(slower[row]) == list(slower_than(counts[row], bounds, limits[row]))


def test_quantile_and_slower_than_agree():
    bounds = [1.0, 2.0, 4.0, 8.0]
    for quantile in (0.1, 0.5, 0.9):
        at = quantile_of([7, 20, 31, 40], bounds, quantile)
        assert slower_than([7, 20, 31, 40], bounds, [at]) == pytest.approx([40 * (1 - quantile)])
