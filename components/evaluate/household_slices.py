"""The TFMA extractor that turns batches of ranks into one extract per household and slice."""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.slicer import slicer_lib

RANK_PREFIX = "rank_"


def HouseholdSlices(  # noqa: N802 - TFMA names its extractor factories like classes
    *, models: Sequence[str], columns: Sequence[str]
) -> tfma.extractors.Extractor:
    """Return the extractor that stands where TFMA's unbatching and slicing stand by default.

    TFMA resamples its extracts as if they were independent. One household's purchases are not, so
    an extract here is all a household's examples inside one slice: the jackknife then leaves out
    households, which is the cluster form it needs (Wolter, "Introduction to Variance Estimation",
    2007, §4), and Beam sees a tenth of the elements.

    Args:
        models: Models whose ranks TFMA predicted, in the order of the eval config. Ranks that
            were computed beforehand are in features named "rank_<baseline>".
        columns: Features to slice by; the slice of everything is always made.
    """
    return tfma.extractors.Extractor(
        stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
        ptransform=beam.ParDo(_SplitByHousehold(tuple(models), tuple(columns))),
    )


class _SplitByHousehold(beam.DoFn):  # type: ignore[misc]
    def __init__(self, models: tuple[str, ...], columns: tuple[str, ...]) -> None:
        self._models, self._columns = models, columns

    def process(self, extracts: tfma.types.Extracts) -> Iterator[tfma.types.Extracts]:
        features = {
            n: np.ravel(v) for n, v in extracts[tfma.FEATURES_KEY].items() if n != "history"
        }
        ranks = _ranks(extracts[tfma.PREDICTIONS_KEY], features, self._models)
        _, starts = np.unique(features["user"], return_index=True)
        bounds = [*sorted(starts), len(features["user"])]
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            household = slice(begin, end)
            own = {model: values[household] for model, values in ranks.items()}
            yield _extract((), own)
            for column in self._columns:
                values = features[column][household]
                for value in np.unique(values):
                    chosen = {model: rank[values == value] for model, rank in own.items()}
                    yield _extract(((column, value.decode()),), chosen)


def _ranks(
    predictions: tfma.types.TensorValueMaybeDict,
    features: dict[str, np.ndarray],
    models: Iterable[str],
) -> dict[str, np.ndarray]:
    names = list(models)
    # TFMA leaves the model's name out when there is only one.
    predicted = predictions if isinstance(predictions, dict) else {names[0]: predictions}
    ranks = {name: np.ravel(predicted[name]) for name in names}
    before = {n.removeprefix(RANK_PREFIX): v for n, v in features.items() if n.startswith("rank_")}
    return ranks | before


def _extract(key: tuple[tuple[str, str], ...], ranks: dict[str, np.ndarray]) -> tfma.types.Extracts:
    return {
        tfma.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([key]),
        tfma.PREDICTIONS_KEY: ranks,
    }
