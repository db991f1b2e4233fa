"""How right single predictions are, as a TFMA metric, for several models and their differences.

Of a rating r and its prediction r̂, over the examples:

    RMSE = √ mean (r − r̂)²        MAE = mean |r − r̂|

Of a click y ∈ {0, 1} and its log-odds s against one drawn item, with m drawn items for each event
and p = σ(s − log m):

    AUC         = P(s of a y = 1 > s of a y = 0) + ½ P(they are equal)
    log loss    = − mean( y log p + (1 − y) log(1 − p) )
    calibration = Σ p / Σ y                                         (1 is right)

AUC is the Mann–Whitney statistic (Hanley & McNeil, "The Meaning and Use of the Area under a ROC
Curve", Radiology 1982), counted in cells of s that are 0.01 wide: inside one cell scores are equal.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from components.evaluate.gate import NOT_ORDERED, difference_name
from components.evaluate.household_slices import LABEL
from components.evaluate.jackknife import GROUP, Floats, JackknifeFn
from components.evaluate.rank_metrics import EXAMPLES

METRICS = {"rating": ("rmse", "mae"), "click": ("auc", "log_loss", "calibration")}
_CELLS, _CELL = 4096, 0.01  # log-odds from −20.48 to 20.48; what lies beyond is in the end cells


class PredictionMetrics(metric_types.Metric):  # type: ignore[misc]
    """The metrics of one kind for each model, and the first model's difference from each other.

    As in `RankMetrics`, differences are taken inside one sample. There is none of calibration.
    """

    def __init__(
        self, models: list[str], kind: str, negatives: int = 1, name: str = "prediction_metrics"
    ) -> None:
        """Make the metric; TFMA calls this with what the eval config holds.

        Args:
            models: Names of the predictions to measure; the first is the candidate.
            kind: "rating" or "click".
            negatives: m, drawn items for each event; of clicks.
            name: TFMA's name for the group.
        """
        super().__init__(_computations, models=models, kind=kind, negatives=negatives, name=name)


def _computations(
    models: list[str], kind: str, negatives: int, name: str
) -> list[metric_types.MetricComputation]:
    del name
    keys = [tfma.metrics.MetricKey(EXAMPLES)]
    keys += [tfma.metrics.MetricKey(m, model_name=n) for n in models for m in METRICS[kind]]
    ordered = [metric for metric in METRICS[kind] if metric not in NOT_ORDERED]
    for other in models[1:]:
        lead = difference_name(models[0], other)
        keys += [tfma.metrics.MetricKey(metric, model_name=lead) for metric in ordered]
    combine = _RatingErrors if kind == "rating" else _ClickErrors
    return [
        metric_types.MetricComputation(
            keys=keys,
            preprocessors=[_LabelAndAnswers(models)],
            combiner=combine(keys, len(models), METRICS[kind], negatives),
        )
    ]


class _LabelAndAnswers(metric_types.Preprocessor):  # type: ignore[misc]
    """Turns one household's examples within one slice into its group and rows: labels, answers."""

    def __init__(self, models: list[str]) -> None:
        super().__init__(models=tuple(models))
        self._names = [LABEL, *models]

    def process(self, extracts: tfma.types.Extracts) -> Iterator[tuple[int, Floats]]:
        answers = extracts[tfma.PREDICTIONS_KEY]
        rows = np.stack([np.asarray(answers[name], np.float64) for name in self._names])
        yield int(answers[GROUP][0]), rows


class _Errors(JackknifeFn):
    """Sums over examples, then figures of the sums: one row of an array for each model."""

    width = 0

    def __init__(
        self,
        keys: list[tfma.metrics.MetricKey],
        models: int,
        metrics: tuple[str, ...],
        negatives: int,
    ) -> None:
        super().__init__(keys, (models, 1 + self.width))
        self._models, self._metrics, self._negatives = models, metrics, negatives

    def sums(self, answers: Floats) -> Floats:
        label, predicted = answers[0], answers[1:]
        count = np.full((self._models, 1), float(len(label)))
        return np.concatenate([count, self.errors(label, predicted)], axis=1)

    def figures(self, sums: Floats) -> Floats:
        figures = self.of_errors(sums[:, 0], sums[:, 1:])
        ordered = [n for n, metric in enumerate(self._metrics) if metric not in NOT_ORDERED]
        leads = (figures[0] - figures[1:])[:, ordered]
        return np.concatenate([sums[0, :1], figures.ravel(), leads.ravel()])

    def errors(self, label: Floats, answers: Floats) -> Floats:
        """Return what is added up, [models, width], of labels [n] and answers [models, n]."""
        raise NotImplementedError

    def of_errors(self, count: Floats, sums: Floats) -> Floats:
        """Return the metrics, [models, metrics]."""
        raise NotImplementedError


class _RatingErrors(_Errors):
    width = 2

    def errors(self, label: Floats, answers: Floats) -> Floats:
        error = answers - label
        return np.stack([np.square(error).sum(axis=1), np.abs(error).sum(axis=1)], axis=1)

    def of_errors(self, count: Floats, sums: Floats) -> Floats:
        return np.stack([np.sqrt(sums[:, 0] / count), sums[:, 1] / count], axis=1)


class _ClickErrors(_Errors):
    width = 2 + 2 * _CELLS

    def errors(self, label: Floats, answers: Floats) -> Floats:
        odds = answers - np.log(self._negatives)
        loss = np.logaddexp(0.0, np.where(label > 0, -odds, odds)).sum(axis=1)
        chance = (1.0 / (1.0 + np.exp(-odds))).sum(axis=1)
        known = np.nan_to_num(answers)
        place = np.clip(np.floor(known / _CELL) + _CELLS // 2, 0, _CELLS - 1).astype(np.int64)
        place += _CELLS * (label > 0).astype(np.int64)
        cells = np.stack([np.bincount(row, minlength=2 * _CELLS) for row in place])
        # A model that answers NaN has no AUC, either.
        counted = np.where(np.isnan(answers).any(axis=1, keepdims=True), np.nan, cells)
        return np.concatenate([np.stack([loss, chance], axis=1), counted], axis=1)

    def of_errors(self, count: Floats, sums: Floats) -> Floats:
        negative, positive = np.split(sums[:, 2:], 2, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        events = positive.sum(axis=1)
        won = (positive * (below + 0.5 * negative)).sum(axis=1)
        auc = won / (events * negative.sum(axis=1))
        return np.stack([auc, sums[:, 0] / count, sums[:, 1] / events], axis=1)
