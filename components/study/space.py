"""What is searched: for each hyper-parameter a range, or a few values."""

import dataclasses
import json
import math
from collections.abc import Mapping
from types import MappingProxyType

from components.errors import InputError

Number = int | float
_KEYS = ({"choices"}, {"low", "high"}, {"low", "high", "log"})


@dataclasses.dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included; whole numbers when the bounds are `int`.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether equal ratios, and not equal differences, are equally far apart.
    """

    low: Number
    high: Number
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Choices:
    """A few values, in no order."""

    choices: tuple[Number, ...]


Space = Mapping[str, Range | Choices]


def space_json(space: Space) -> str:
    """Return the JSON object that `parse_space` reads, names in order."""
    return json.dumps({name: dataclasses.asdict(space[name]) for name in sorted(space)})


def parse_space(
    text: str,
    *,
    default: Space,
    types: Mapping[str, object],
    limits: Mapping[str, float] = MappingProxyType({}),
) -> Space:
    """Read a search space: `{"learning_rate": {"low": 0.001, "high": 0.1, "log": true}, …}`.

    Args:
        text: JSON object; a name's value is {"low", "high", "log"} or {"choices": […]}. "" is the
            default. Only what is named is searched.
        default: The model's own space.
        types: Type of every hyper-parameter of the model, int or float.
        limits: What a hyper-parameter must be below, by name.

    Raises:
        InputError: If it is anything else; names the hyper-parameter.
    """
    if not text.strip():
        return default
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("search_space", f"{text!r} ({error})", "a JSON object") from error
    if not isinstance(given, dict) or not given:
        raise InputError("search_space", repr(given), "a JSON object with at least one name")
    for name in given:
        if name not in types:
            known = f"one of {', '.join(sorted(types))}"
            raise InputError(f"search_space {name}", "an unknown name", known)
    return {
        name: _parse(name, entry, types[name] is int, limits.get(name, math.inf))
        for name, entry in given.items()
    }


def _parse(name: str, entry: object, whole: bool, below: float) -> Range | Choices:
    where = f"search_space {name}"
    if not isinstance(entry, dict) or set(entry) not in _KEYS:
        raise InputError(where, repr(entry), '{"low", "high"}, maybe "log", or {"choices"}')
    if "choices" in entry:
        values = entry["choices"]
        if not isinstance(values, list) or not values:
            raise InputError(f"{where} choices", repr(values), "a list of values")
        at = f"{where} choices"
        return Choices(tuple(checked_number(at, one, whole=whole, below=below) for one in values))
    low, high = (
        checked_number(f"{where} {end}", entry[end], whole=whole, below=below)
        for end in ("low", "high")
    )
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where} log", repr(log), "true or false")
    if low > high:
        raise InputError(where, f"low {low} above high {high}", "low ≤ high")
    if log and low <= 0:
        raise InputError(f"{where} low", str(low), "a number above 0 for a logarithmic range")
    return Range(low, high, log)


def checked_number(where: str, value: object, *, whole: bool, below: float = math.inf) -> Number:
    """Return a number that a hyper-parameter may have.

    Args:
        where: Which one, for errors.
        value: What was given.
        whole: Whether it must be a whole number, which is then at least 1, and else at least 0.
        below: What it must be below.

    Raises:
        InputError: If it is anything else.
    """
    allowed: tuple[type, ...] = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise InputError(where, repr(value), "a whole number" if whole else "a number")
    assert isinstance(value, int | float)
    least = 1 if whole else 0
    if not least <= value < below:
        limit = "" if below == math.inf else f" and below {below:g}"
        raise InputError(where, repr(value), f"a finite number of at least {least}{limit}")
    return value if whole else float(value)
