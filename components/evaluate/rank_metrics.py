"""HR@k, NDCG@k and MRR as a TFMA metric on ranks, for several models and their differences.

With one relevant item per example, at rank r (1-based, maybe fractional because of ties):

    HR@k   = 1 if r ≤ k else 0
    NDCG@k = 1 / log2(1 + r) if r ≤ k else 0   (the ideal list has DCG 1)
    MRR    = 1 / r

Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002;
Krichene & Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020, §3.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from components.evaluate.gate import difference_name
from components.evaluate.jackknife import GROUP, Floats, JackknifeFn

EXAMPLES = "examples"


def metric_names(k: int) -> tuple[str, str, str]:
    """Return the names of the three metrics, in the order in which they are summed."""
    return (f"hr@{k}", f"ndcg@{k}", "mrr")


def gains(ranks: npt.NDArray[np.floating], *, k: int) -> npt.NDArray[np.float64]:
    """Return what each rank is worth.

    Args:
        ranks: 1-based ranks, shape [examples]; of scores that are NaN, models exported earlier
            made a rank of ½ or NaN, which is worth nothing.
        k: Cut-off, ≥ 1.

    Returns:
        HR@k, NDCG@k and reciprocal rank of each example, shape [examples, 3].
    """
    rank = np.asarray(ranks, np.float64)
    rank = np.where(rank >= 1, rank, np.inf)
    hit = rank <= k
    return np.stack([hit, hit / np.log2(1.0 + rank), 1.0 / rank], axis=1)


class RankMetrics(metric_types.Metric):  # type: ignore[misc]
    """Means of the three metrics for each model, and the first model's lead over each other.

    The differences are taken inside one sample, so that their confidence intervals are those of
    paired differences: much narrower than two separate intervals suggest.
    """

    def __init__(self, models: list[str], k: int, name: str = "rank_metrics") -> None:
        """Make the metric; TFMA calls this with what the eval config holds.

        Args:
            models: Names of the predictions to measure; the first is the candidate.
            k: Cut-off, ≥ 1.
            name: TFMA's name for the group.
        """
        super().__init__(_computations, models=models, k=k, name=name)


def _computations(models: list[str], k: int, name: str) -> list[metric_types.MetricComputation]:
    del name
    keys = [tfma.metrics.MetricKey(EXAMPLES)]
    named = list(models) + [difference_name(models[0], other) for other in models[1:]]
    keys += [tfma.metrics.MetricKey(m, model_name=n) for n in named for m in metric_names(k)]
    return [
        metric_types.MetricComputation(
            keys=keys,
            preprocessors=[_GroupAndRanks(models)],
            combiner=_MeanGains(keys, len(models), k),
        )
    ]


class _GroupAndRanks(metric_types.Preprocessor):  # type: ignore[misc]
    """Turns one household's examples within one slice into its group and ranks [models, n]."""

    def __init__(self, models: list[str]) -> None:
        super().__init__(models=tuple(models))
        self._models = models

    def process(self, extracts: tfma.types.Extracts) -> Iterator[tuple[int, Floats]]:
        answers = extracts[tfma.PREDICTIONS_KEY]
        yield int(answers[GROUP][0]), np.stack([answers[model] for model in self._models])


class _MeanGains(JackknifeFn):
    """Means of sums: examples, then the three gains of each model."""

    def __init__(self, keys: list[tfma.metrics.MetricKey], models: int, k: int) -> None:
        super().__init__(keys, (1 + 3 * models,))
        self._models, self._k = models, k

    def sums(self, answers: Floats) -> Floats:
        added = [gains(ranks, k=self._k).sum(axis=0) for ranks in answers]
        return np.concatenate([[float(answers.shape[1])], *added])

    def figures(self, sums: Floats) -> Floats:
        means = (sums[1:] / sums[0]).reshape(self._models, 3)
        leads = means[0] - means[1:]
        return np.concatenate([sums[:1], means.ravel(), leads.ravel()])
