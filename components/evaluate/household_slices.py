"""The TFMA extractor that turns batches of predictions into one extract per household and slice."""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.slicer import slicer_lib

from components.evaluate.jackknife import GROUP

RIVAL_PREFIX = "rival_"
LABEL = "label"


def HouseholdSlices(  # noqa: N802 - TFMA names its extractor factories like classes
    *, models: Sequence[str], columns: Sequence[str]
) -> tfma.extractors.Extractor:
    """Return the extractor that stands where TFMA's unbatching and slicing stand by default.

    An extract here is all a household's examples inside one slice: the jackknife leaves out
    households, because one household's purchases are not independent, and Beam sees a tenth of
    the elements.

    Args:
        models: Models that TFMA asked, in the order of the eval config. What rivals answer was
            computed beforehand and is in features named "rival_<name>"; a feature "label" holds
            the labels of metrics that need some.
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
        answers = _answers(extracts[tfma.PREDICTIONS_KEY], features, self._models)
        _, starts = np.unique(features["user"], return_index=True)
        bounds = [*sorted(starts), len(features["user"])]
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            household = slice(begin, end)
            own = {name: values[household] for name, values in answers.items()}
            yield _extract((), own)
            for column in self._columns:
                values = features[column][household]
                for value in np.unique(values):
                    chosen = {name: answer[values == value] for name, answer in own.items()}
                    yield _extract(((column, value.decode()),), chosen)


def _answers(
    predictions: tfma.types.TensorValueMaybeDict,
    features: dict[str, np.ndarray],
    models: Iterable[str],
) -> dict[str, np.ndarray]:
    """Return what each model and each rival says; labels and groups under their own names."""
    names = list(models)
    # TFMA leaves the model's name out when there is only one.
    predicted = predictions if isinstance(predictions, dict) else {names[0]: predictions}
    answers = {name: np.ravel(predicted[name]) for name in names}
    for name, values in features.items():
        if name in (LABEL, GROUP) or name.startswith(RIVAL_PREFIX):
            answers[name.removeprefix(RIVAL_PREFIX)] = values
    return answers


def _extract(
    key: tuple[tuple[str, str], ...], answers: dict[str, np.ndarray]
) -> tfma.types.Extracts:
    return {
        tfma.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([key]),
        tfma.PREDICTIONS_KEY: answers,
    }
