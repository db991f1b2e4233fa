import pytest

from components.errors import InputError
from components.train.hyperparameters import parse_hyperparameters
from components.train.models.registry import find_model
from components.train.models.two_tower import TwoTowerHyperparameters


def test_names_left_out_keep_their_default() -> None:
    parsed = parse_hyperparameters('{"dimension": 8}', TwoTowerHyperparameters)
    assert parsed == TwoTowerHyperparameters(dimension=8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"dimensions": 8}', "hyperparameter dimensions: .*age_bands.*dimension"),
        ('{"dimension": "8"}', "hyperparameter dimension: found '8', expected a whole number"),
        ('{"dimension": 8.5}', "hyperparameter dimension: found 8.5, expected a whole number"),
        ('{"dimension": true}', "hyperparameter dimension: found True"),
        ('{"dimension": 0}', "hyperparameter dimension: found 0, expected .* at least 1"),
        ('{"learning_rate": NaN}', "hyperparameter learning_rate: found nan"),
        ("[1]", "hyperparameters: .* a JSON object"),
        ("{", "hyperparameters: .* a JSON object"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_hyperparameters(text, TwoTowerHyperparameters)


def test_an_unknown_model_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InputError, match="'bert', expected one of gru4rec, linear_autoencoder"):
        find_model("bert")
