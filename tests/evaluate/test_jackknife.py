import numpy as np
import polars as pl
import pytest
import tensorflow_model_analysis as tfma

from components.evaluate.jackknife import GROUP, GROUPS, JackknifeFn, draw_groups


class Mean(JackknifeFn):
    """The mean of values."""

    def sums(self, answers):
        return np.array([len(answers), answers.sum()])

    def figures(self, sums):
        return np.array([sums[0], sums[1] / sums[0]])


KEYS = [tfma.metrics.MetricKey("examples"), tfma.metrics.MetricKey("mean")]


def combined(elements, bundles=1):
    """Return what the mean is when elements come in so many bundles."""
    mean = Mean(KEYS, (2,))
    parts = []
    for bundle in range(bundles):
        part = mean.create_accumulator()
        for element in elements[bundle::bundles]:
            part = mean.add_input(part, element)
        parts.append(part)
    return mean.extract_output(mean.merge_accumulators(parts))


def test_the_interval_of_a_mean_is_that_of_its_groups_means():
    # Groups of one value each, 0 … 19. Of a mean, pseudo-value g is group g's mean:
    # G·m − (G − 1)·(G·m − g) / (G − 1) = g. So the error is the standard error of 0 … 19.
    found = combined([(g, np.array([float(g)])) for g in range(GROUPS)])[KEYS[1]]
    assert (found.unsampled_value, found.sample_mean) == (9.5, pytest.approx(9.5))
    want = np.std(range(GROUPS), ddof=1) / GROUPS**0.5
    assert found.sample_standard_deviation == pytest.approx(want)
    assert found.sample_degrees_of_freedom == GROUPS - 1


def test_an_empty_group_tells_of_no_spread():
    found = combined([(g, np.array([float(g)])) for g in (0, 7, 11)])[KEYS[1]]
    want = np.std([0, 7, 11], ddof=1) / 3**0.5
    assert found.sample_standard_deviation == pytest.approx(want)
    assert (found.unsampled_value, found.sample_degrees_of_freedom) == (6.0, 2)


def test_order_and_bundles_make_no_difference():
    random = np.random.default_rng(0)
    elements = [(int(g), random.normal(size=3)) for g in random.integers(0, GROUPS, 100)]
    one, other = combined(elements), combined(elements[::-1], bundles=7)
    assert one[KEYS[0]] == other[KEYS[0]] == 300
    np.testing.assert_allclose(one[KEYS[1]], other[KEYS[1]], rtol=1e-12)


def test_a_single_household_has_no_interval():
    assert combined([(3, np.array([1.0, 2.0]))]) == {KEYS[0]: 2, KEYS[1]: 1.5}


def test_a_household_has_one_group_and_groups_are_of_one_size():
    frame = pl.DataFrame({"user": [f"h{n % 40:02}" for n in range(200)]})
    drawn = draw_groups(frame, seed=1)
    assert drawn["user"].equals(frame["user"])
    by_user = drawn.group_by("user").agg(pl.col(GROUP).unique())
    assert by_user[GROUP].list.len().to_list() == [1] * 40
    assert by_user.explode(GROUP)[GROUP].value_counts()["count"].to_list() == [2] * GROUPS
    # It depends on nothing but the households and the seed.
    again = draw_groups(frame.sample(fraction=1, shuffle=True, seed=3), seed=1).unique()
    assert again.sort("user").equals(drawn.unique().sort("user"))
    assert not draw_groups(frame, seed=2).equals(drawn)
