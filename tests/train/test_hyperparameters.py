import dataclasses
import json

import pytest

from components.errors import InputError
from components.train.hyperparameters import parse_hyperparameters
from components.train.models.registry import MODELS, find_model
from components.train.models.two_tower import TwoTowerHyperparameters
from components.train.settings import TrainSettings


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
        ('{"id_dropout": 1}', "id_dropout: found 1, .* at least 0 and below 1"),
        ('{"gap_days": 1e12}', "gap_days: found 1000000000000.0, .* and below 36525"),
        ('{"learning_rate": -0.1}', "learning_rate: found -0.1, .* at least 0"),
        ('{"learning_rate": Infinity}', "learning_rate: found inf"),
        ("[1]", "hyperparameters: .* a JSON object"),
        ("{", "hyperparameters: .* a JSON object"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_hyperparameters(text, TwoTowerHyperparameters)


@pytest.mark.parametrize("name", MODELS)
def test_no_model_takes_a_number_that_no_training_can_have(name: str) -> None:
    """What is out of range is refused before anything is read, whatever the model."""
    kind = MODELS[name].settings
    numbers = [field.name for field in dataclasses.fields(kind) if field.type in (int, float)]
    wrong = [(number, value) for number in numbers for value in ("-1", "NaN", "Infinity")]
    wrong += [(number, "1.0") for number in numbers if "dropout" in number]
    for number, value in wrong:
        with pytest.raises(InputError, match=f"hyperparameter {number}: found"):
            parse_hyperparameters(f'{{"{number}": {value}}}', kind)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_three_attempts_of_its_own(name: str) -> None:
    kind = MODELS[name].settings
    chosen = [parse_hyperparameters("", kind, attempt=number) for number in (1, 2, 3)]
    assert chosen[0] == kind()
    assert len(set(chosen)) == 3
    for one, own in zip(chosen[1:], kind.further_attempts, strict=True):
        assert one == parse_hyperparameters(json.dumps(own), kind)


@pytest.mark.parametrize("attempt", [0, 4])
def test_an_attempt_there_is_not_is_refused(attempt: int) -> None:
    with pytest.raises(InputError, match=f"attempt: found {attempt}, .* from 1 to 3"):
        TrainSettings(attempt=attempt)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_not_every_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"parameter seed: found {seed}, .* 0 to 2,147,483,647"):
        TrainSettings(seed=seed)


def test_an_unknown_model_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InputError, match="'bert', expected one of gru4rec, linear_autoencoder"):
        find_model("bert")
