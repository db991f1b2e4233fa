"""Models by name: one line here and one file beside it add a model."""

import dataclasses
from collections.abc import Callable, Mapping

from components.errors import InputError
from components.train.closed_form import ClosedForm
from components.train.hyperparameters import ModelSettings, parse_hyperparameters
from components.train.models.gru4rec import Gru4rec, Gru4recHyperparameters
from components.train.models.linear_autoencoder import (
    LinearAutoencoder,
    LinearAutoencoderHyperparameters,
)
from components.train.models.matrix_factorization import (
    MatrixFactorization,
    MatrixFactorizationHyperparameters,
)
from components.train.models.ranker import Ranker, RankerHyperparameters
from components.train.models.rating_factorization import (
    RatingFactorization,
    RatingFactorizationHyperparameters,
)
from components.train.models.sasrec import Sasrec, SasrecHyperparameters
from components.train.models.slist import Slist, SlistHyperparameters
from components.train.models.two_tower import TwoTower, TwoTowerHyperparameters
from components.train.retrieval import Stepped
from components.train.settings import TrainSettings


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """A model that can be trained.

    Attributes:
        settings: Its hyper-parameters' dataclass.
        build: `build(items, settings, seed=…)` → the untrained model.
        one_device: Whether it can be trained on one device alone.
    """

    settings: type[ModelSettings]
    build: Callable[..., Stepped | ClosedForm]
    one_device: bool = False


MODELS: Mapping[str, ModelEntry] = {
    "gru4rec": ModelEntry(Gru4recHyperparameters, Gru4rec),
    "linear_autoencoder": ModelEntry(
        LinearAutoencoderHyperparameters, LinearAutoencoder, one_device=True
    ),
    "matrix_factorization": ModelEntry(MatrixFactorizationHyperparameters, MatrixFactorization),
    "ranker": ModelEntry(RankerHyperparameters, Ranker, one_device=True),
    "rating_factorization": ModelEntry(RatingFactorizationHyperparameters, RatingFactorization),
    "sasrec": ModelEntry(SasrecHyperparameters, Sasrec),
    "slist": ModelEntry(SlistHyperparameters, Slist, one_device=True),
    "two_tower": ModelEntry(TwoTowerHyperparameters, TwoTower),
}


def find_model(name: str) -> ModelEntry:
    """Return a model's entry.

    Raises:
        InputError: If there is no such model; names those there are.
    """
    if name not in MODELS:
        raise InputError("parameter model", repr(name), f"one of {', '.join(sorted(MODELS))}")
    return MODELS[name]


def read_hyperparameters(settings: TrainSettings) -> ModelSettings:
    """Return the hyper-parameters of a training.

    Raises:
        InputError: If there is no such model, or it does not take one of them.
    """
    return parse_hyperparameters(
        settings.hyperparameters, find_model(settings.model).settings, attempt=settings.attempt
    )
