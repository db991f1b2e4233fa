"""What a data set's columns mean and how to clean it: the YAML files in pipelines/configs."""

import datetime as dt
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from components.errors import InputError

_STRICT = ConfigDict(extra="forbid", frozen=True, str_min_length=1)
_UNKNOWN_KEY = "unexpected_keyword_argument"
_FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


@dataclass(config=_STRICT, kw_only=True)
class EventColumns:
    """Names of the log's columns by what they mean."""

    user: str
    item: str
    time: str
    event_type: str | None = None
    quantity: str | None = None
    price: str | None = None
    rating: str | None = None

    def named(self) -> dict[str, str]:
        """Return meaning → column for the columns that the data set has."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {meaning: column for meaning, column in given.items() if column is not None}


@dataclass(config=_STRICT, kw_only=True)
class Events:
    """How to read the behaviour log.

    Attributes:
        columns: Which columns are read; every other column is dropped.
        time_unit: Unit of times that are whole numbers since 1970.
        time_format: strptime format of times that are text; ISO 8601 when not given.
        price_of: Whether the price is that of one unit, or of the whole line (price × quantity).
        identity: Further columns that tell two equal-looking events apart, such as a basket or line
            number; used to find exact duplicates, then dropped.
    """

    columns: EventColumns
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    time_format: str | None = None
    price_of: Literal["unit", "line"] = "unit"
    identity: tuple[str, ...] = ()


@dataclass(config=_STRICT, kw_only=True)
class CatalogueFeature:
    """One thing the catalogue says about an item.

    Attributes:
        column: Column of the catalogue; for text, several are joined by a space.
        type: text (tokenised), categorical (a closed set of values) or numeric.
    """

    column: str | tuple[str, ...]
    type: Literal["text", "categorical", "numeric"]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns as a tuple, also when there is one."""
        return (self.column,) if isinstance(self.column, str) else self.column


@dataclass(config=_STRICT, kw_only=True)
class Catalogue:
    """How to read the item catalogue.

    Attributes:
        item: Column of the item id.
        features: Canonical name → where it comes from.
    """

    item: str
    features: dict[_FeatureName, CatalogueFeature] = Field(default_factory=dict)


@dataclass(config=_STRICT, kw_only=True)
class Outliers:
    """Where quantities and prices are cut off, see `components.ingest.clean.upper_cap`.

    Attributes:
        quantile: At most this share of the rows keeps its value whatever the spread, in (0, 1).
        deviations: Robust standard deviations above the median that are never cut.
    """

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
    deviations: Annotated[float, Field(gt=0)] = 10.0


@dataclass(config=_STRICT, kw_only=True)
class Clean:
    """The rules of cleaning that have a choice in them.

    Attributes:
        earliest: Events before this day have an impossible time.
        event_types: Event types kept; all when empty.
        outliers: Cut-off of quantities and prices; `null` leaves them alone.
        min_events_per_user: Users with fewer training events lose them; 1 keeps all.
        min_events_per_item: The same for items.
        hash_users: Replace user ids by a keyed hash.
    """

    earliest: dt.date = dt.date(2000, 1, 1)
    event_types: tuple[str, ...] = ()
    outliers: Outliers | None = Field(default_factory=Outliers)
    min_events_per_user: Annotated[int, Field(ge=1)] = 1
    min_events_per_item: Annotated[int, Field(ge=1)] = 1
    hash_users: bool = False


@dataclass(config=_STRICT, kw_only=True)
class Split:
    """Length of the last two periods, in days; everything before them is for training."""

    eval_days: Annotated[int, Field(ge=1)]
    test_days: Annotated[int, Field(ge=1)]


@dataclass(config=_STRICT, kw_only=True)
class DatasetConfig:
    """A whole data-set config.

    Attributes:
        name: Name of the data set, for reports.
        events: The behaviour log.
        catalogue: The item catalogue.
        split: The periods.
        clean: The rules of cleaning.
    """

    name: str
    events: Events
    catalogue: Catalogue
    split: Split
    clean: Clean = Field(default_factory=Clean)


def load_config(text: str, *, where: str) -> DatasetConfig:
    """Return the data-set config that a YAML text says.

    Args:
        text: The YAML.
        where: File or parameter the text comes from, for errors.

    Raises:
        InputError: If the text is not YAML, has an unknown key, lacks one, or a value is of the
            wrong kind; names the key and what is allowed.
    """
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(where, f"broken YAML ({error})", "a data-set config") from error
    if not isinstance(loaded, dict):
        raise InputError(where, type(loaded).__name__, "a YAML mapping with name, events, …")
    try:
        config = TypeAdapter(DatasetConfig).validate_python(loaded)
    except ValidationError as error:
        # A misspelt key is also a missing one; say the half that tells what to do.
        found = sorted(error.errors(), key=lambda one: one["type"] != _UNKNOWN_KEY)
        raise _input_error(found[0], where=where) from error
    _check_names(config, where=where)
    return config


def _input_error(error: ErrorDetails, *, where: str) -> InputError:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == _UNKNOWN_KEY:
        allowed = list(_keys_at(path[:-1]))
        near = difflib.get_close_matches(path[-1], allowed, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return InputError(where, f"unknown key {key}{hint}", f"one of {', '.join(allowed)}")
    if error["type"] == "missing":
        return InputError(where, f"no key {key}", "it to be given")
    expected = error["msg"].removeprefix("Input should be ")
    return InputError(f"{where}, key {key}", repr(error["input"])[:80], expected)


def _keys_at(path: list[str]) -> Iterator[str]:
    """Yield the keys that the config allows at a place, by walking its types."""
    kind: Any = DatasetConfig
    for part in path:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif is_dataclass(kind):
            kind = get_type_hints(kind)[part]
        if get_origin(kind) is not dict:  # X | None: the keys are those of X
            kind = next((arg for arg in get_args(kind) if is_dataclass(arg)), kind)
    if is_dataclass(kind):
        yield from (field.name for field in fields(kind))


def _check_names(config: DatasetConfig, *, where: str) -> None:
    """Refuse what is well-formed and cannot be meant."""
    for name, feature in config.catalogue.features.items():
        key = f"{where}, key catalogue.features.{name}"
        if name in _EVENT_NAMES:
            raise InputError(key, f"the name {name}", f"none of the events' own: {_EVENT_NAMES}")
        if feature.type != "text" and len(feature.columns) != 1:
            raise InputError(key, f"{len(feature.columns)} columns", "one, unless the type is text")
    columns = config.events.columns
    _check_distinct(columns.named(), where=f"{where}, key events.columns")
    if config.events.price_of == "line" and not (columns.quantity and columns.price):
        expected = "columns quantity and price to divide one by the other"
        raise InputError(f"{where}, key events.price_of", "line", expected)
    if config.clean.event_types and columns.event_type is None:
        raise InputError(f"{where}, key clean.event_types", "types", "events.columns.event_type")


def _check_distinct(named: Mapping[str, str], *, where: str) -> None:
    meaning_of: dict[str, str] = {}
    for meaning, column in named.items():
        if column in meaning_of:
            found = f"{column} as {meaning_of[column]} and as {meaning}"
            raise InputError(where, found, "each column once")
        meaning_of[column] = meaning


_EVENT_NAMES = tuple(field.name for field in fields(EventColumns))
