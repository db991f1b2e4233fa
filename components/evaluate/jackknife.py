"""Confidence intervals by leaving out a twentieth of the households at a time.

TFMA's own jackknife draws each extract's group while the pipeline runs, in the order in which a
worker happens to see them, and computes every sample by stages of its own: another Beam engine, or
another run on one, then gives other intervals. Here a household's group is drawn beforehand, and
sums are kept by group, so that one combination gives the value and its interval, everywhere alike.

With G groups that have a household, θ of everything and θ₍g₎ of everything but group g (Wolter,
"Introduction to Variance Estimation", 2007, §4.2; TFMA's delete-d jackknife has the same):

    pseudo-value g = G θ − (G − 1) θ₍g₎
    standard error = standard deviation of the pseudo-values / √G
    interval       = mean of θ₍g₎ ± t(0.975; G − 1) · standard error
"""

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import polars as pl
import tensorflow_model_analysis as tfma

Floats = npt.NDArray[np.float64]

GROUP = "jackknife_group"
GROUPS = 20


def draw_groups(frame: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """Add the column `GROUP`: each household's group, an equal share of them in each.

    Args:
        frame: Examples; `user` is the household.
        seed: Of the draw; it depends on nothing else but which households there are.
    """
    users = frame.select(pl.col("user").unique().sort())
    groups = np.random.default_rng(seed).permutation(users.height) % GROUPS
    return frame.join(
        users.with_columns(pl.Series(GROUP, groups)), on="user", maintain_order="left"
    )


class JackknifeFn(beam.CombineFn):  # type: ignore[misc]
    """Adds up sums by group; a subclass says what an element adds and what figures sums give."""

    def __init__(self, keys: Sequence[tfma.metrics.MetricKey], shape: tuple[int, ...]) -> None:
        """Make the combination.

        Args:
            keys: Of the figures. The first counts examples and has no interval.
            shape: Of the sums.
        """
        self._keys, self._shape = keys, shape

    def create_accumulator(self) -> Floats:
        """Return no sums, shape [groups, …]."""
        return np.zeros((GROUPS, *self._shape))

    def add_input(self, accumulator: Floats, element: tuple[int, Floats]) -> Floats:
        """Add what one household says to its group's sums."""
        group, answers = element
        accumulator[group] += self.sums(answers)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Floats]) -> Floats:
        """Add up sums that were made apart."""
        total = self.create_accumulator()
        for accumulator in accumulators:
            total += accumulator
        return total

    def extract_output(
        self, accumulator: Floats
    ) -> dict[tfma.metrics.MetricKey, float | tfma.types.ValueWithTDistribution]:
        """Return each figure, with an interval where every sample of at least two has it."""
        total = accumulator.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self.figures(total)
            samples = np.stack([self.figures(total - part) for part in accumulator])
            # An empty group takes nothing away: it is no sample, and tells of no spread.
            samples = samples[samples[:, 0] < value[0]]
            groups = len(samples)
            if groups < 2:
                return dict(zip(self._keys, value.tolist(), strict=True))
            pseudo = groups * value - (groups - 1) * samples
            error = pseudo.std(axis=0, ddof=1) / np.sqrt(groups)
            middle = samples.mean(axis=0)
        figures = [
            tfma.types.ValueWithTDistribution(m, e, groups - 1, v) if np.isfinite(e) else v
            for m, e, v in zip(middle.tolist(), error.tolist(), value.tolist(), strict=True)
        ]
        return dict(zip(self._keys, [float(value[0]), *figures[1:]], strict=True))

    def sums(self, answers: Floats) -> Floats:
        """Return what one household's answers add."""
        raise NotImplementedError

    def figures(self, sums: Floats) -> Floats:
        """Return the figures of sums, the number of examples first, in the order of the keys."""
        raise NotImplementedError
