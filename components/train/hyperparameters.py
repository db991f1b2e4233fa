"""Hyper-parameters: a frozen dataclass per model, read from a JSON object."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, get_args

from components.errors import InputError
from components.study.space import Number, Space, checked_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What can be set of a model; every field is an int, a float or a `Literal` of words.

    An int is at least 1, a float at least 0 and, made by `below`, less than its limit.

    Attributes:
        search_space: What a search for good ones tries when nothing else is asked for.
        further_attempts: What differs from the defaults in the second and the third attempt of a
            run whose gate refused the one before, when nothing else is asked for.
    """

    search_space: ClassVar[Space] = {}
    further_attempts: ClassVar[tuple[Mapping[str, Number], Mapping[str, Number]]] = ({}, {})

    @classmethod
    def limits(cls) -> dict[str, float]:
        """Return what each setting must be below, by name."""
        fields = dataclasses.fields(cls)
        return {field.name: field.metadata.get("below", math.inf) for field in fields}


def below(limit: float, *, default: float) -> Any:
    """Make a setting that must be below a limit, such as a share of numbers that are hidden."""
    return dataclasses.field(default=default, metadata={"below": limit})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameters(ModelSettings):
    """Settings of the training loop, the same for every model that learns by steps.

    Attributes:
        epochs: Most passes over the train split.
        patience: Epochs without a better one on the eval split before training stops: by its RMSE
            for a model of ratings, else by its NDCG@10.
        learning_rate: Adam's step size.
    """

    epochs: int = 3
    patience: int = 1
    learning_rate: float = 0.002


H = TypeVar("H", bound=ModelSettings)


def parse_hyperparameters(text: str, settings_type: type[H], *, attempt: int = 1) -> H:
    """Read a model's hyper-parameters.

    Args:
        text: A JSON object; names that are left out keep their default. "" is what the model itself
            has for the attempt.
        settings_type: The model's dataclass; its fields are int, float or a Literal.
        attempt: 1, 2 or 3.

    Raises:
        InputError: If the text is not a JSON object, or a name or a value is not allowed.
    """
    if not text.strip():
        own: Mapping[str, Any] = ({}, *settings_type.further_attempts)[attempt - 1]
        return settings_type(**own)
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("hyperparameters", f"{text!r} ({error})", "a JSON object") from error
    if not isinstance(given, dict):
        raise InputError("hyperparameters", repr(given), "a JSON object")
    types = {field.name: field.type for field in dataclasses.fields(settings_type)}
    limits = settings_type.limits()
    for name, value in given.items():
        where = f"hyperparameter {name}"
        if name not in types:
            raise InputError(where, "an unknown name", f"one of {', '.join(sorted(types))}")
        if words := get_args(types[name]):
            if value not in words:
                raise InputError(where, repr(value), f"one of {', '.join(words)}")
        else:
            checked_number(where, value, whole=types[name] is int, below=limits[name])
    return settings_type(**given)
