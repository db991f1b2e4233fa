import dataclasses
import json

import pytest

from components.errors import InputError
from components.study.space import Choices, Range, parse_space, space_json
from components.train.models.registry import MODELS

TYPES = {"dimension": int, "learning_rate": float}
DEFAULT = {"dimension": Range(8, 64)}


def test_a_space_is_read_and_written_back() -> None:
    text = '{"learning_rate": {"low": 0, "high": 1}, "dimension": {"choices": [8, 16]}}'
    space = parse_space(text, default=DEFAULT, types=TYPES)
    assert space == {"learning_rate": Range(0.0, 1.0), "dimension": Choices((8, 16))}
    assert parse_space(space_json(space), default=DEFAULT, types=TYPES) == space


def test_nothing_given_is_the_models_own_space() -> None:
    assert parse_space(" ", default=DEFAULT, types=TYPES) is DEFAULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "search_space: .* a JSON object"),
        ("{}", "search_space: found {}, expected a JSON object with at least one name"),
        ('{"dimensions": {"low": 1, "high": 2}}', "dimensions: .* one of dimension, dropout"),
        ('{"dimension": [8, 64]}', r"search_space dimension: found \[8, 64\], expected"),
        ('{"dimension": {"low": 8, "top": 64}}', 'expected {"low", "high"}'),
        ('{"dimension": {"low": 64, "high": 8}}', "low 64 above high 8, expected low ≤ high"),
        ('{"dimension": {"low": 0, "high": 8}}', "dimension low: found 0, .* at least 1"),
        ('{"dimension": {"low": 1.5, "high": 8}}', "low: found 1.5, expected a whole number"),
        ('{"dimension": {"choices": []}}', "dimension choices: .* a list of values"),
        ('{"dimension": {"choices": [8, true]}}', "dimension choices: found True"),
        ('{"learning_rate": {"low": 0, "high": 1, "log": true}}', "low: .* logarithmic"),
        ('{"learning_rate": {"low": 0, "high": 1, "log": 1}}', "log: found 1, expected true"),
        ('{"learning_rate": {"low": 0, "high": NaN}}', "high: found nan, expected a finite"),
        ('{"dropout": {"low": 0, "high": 1}}', "dropout high: found 1, .* and below 1"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse_space(text, default=DEFAULT, types=TYPES | {"dropout": float}, limits={"dropout": 1})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_own_space_is_one_that_could_have_been_given(name: str) -> None:
    kind = MODELS[name].settings
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    if kind.search_space:
        text = space_json(kind.search_space)
        assert parse_space(text, default={}, types=types) == kind.search_space
    # Whole numbers where the model wants them, and its default inside: trial 0 is one of many.
    for parameter, bounds in kind.search_space.items():
        value = json.loads(json.dumps(getattr(kind(), parameter)))
        if isinstance(bounds, Range):
            assert bounds.low <= value <= bounds.high, parameter
            assert type(bounds.low) is type(bounds.high) is types[parameter], parameter
        else:
            assert value in bounds.choices, parameter
