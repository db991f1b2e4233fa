"""The transformer's settings: read from the command line once, checked once."""

import argparse
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, NoReturn, get_args
from urllib.parse import urlsplit

from serving.protocol.own_revision import own_revision
from serving.protocol.request import Limits

OnLookupError = Literal["refuse", "unfiltered"]
_REDIS = ("redis", "rediss")
_HOST = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:\d+)?"
)


class SettingsError(ValueError):
    """An option says what cannot be done; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """Everything the transformer is told.

    Attributes:
        model_name: The model's name in the protocol, the same as the predictor's.
        predictor_host: Host, or host:port, of the predictor.
        http_port: Port to listen on.
        host: Address to listen on.
        revision: Label of the metrics: this transformer's revision.
        predictor_use_ssl: Whether the predictor is asked by https.
        predictor_timeout_s: Time the predictor has for an answer.
        history: Where users' histories are: Parquet files or redis://; "" for nowhere.
        items: Where item features are, likewise.
        category_column: The category among the item features; "" for none.
        stock_column: The stock among the item features; "" for none, and no stock filter.
        vector_column: The vector among the item features; "" for none.
        reload_s: Time between two looks whether the files have changed.
        on_lookup_error: Whether to refuse (503) or to answer unfiltered while Redis is away.
        filter_bought: Whether items of the user's history are not recommended again.
        overfetch: Candidates asked for per item wanted.
        max_fetch: The most candidates the predictor answers with, its --max_k.
        max_k: The most items a request may ask for.
        max_history: The most items of a request's history, and of its exclude list.
        history_length: The last items of a looked-up history that the model is asked with.
        max_batch: The most rows of a request.
        max_body_bytes: The largest body.
        mmr_lambda: Weight of relevance against diversity, in [0, 1]; 1 is the model's order.
        category_cap: The most items of one category in an answer; 0 for any number.
        cache: "none", "memory", or a redis:// URL.
        cache_ttl_s: Time a cached answer is used.
        cache_mb: Size of the cache in memory.
        redis_timeout_s: Time Redis has for an answer, as a cache and as a look-up.
        enable_latency_logging: Whether to write one log line per request.
    """

    model_name: str
    predictor_host: str
    http_port: int = 8080
    host: str = "0.0.0.0"
    revision: str = ""
    predictor_use_ssl: bool = False
    predictor_timeout_s: float = 2.0
    history: str = ""
    items: str = ""
    category_column: str = ""
    stock_column: str = ""
    vector_column: str = ""
    reload_s: float = 30.0
    on_lookup_error: OnLookupError = "refuse"
    filter_bought: bool = False
    overfetch: float = 5.0
    max_fetch: int = Limits.k
    max_k: int = Limits.k
    max_history: int = Limits.values
    history_length: int = 100
    max_batch: int = Limits.rows
    max_body_bytes: int = 4 * 2**20
    mmr_lambda: float = 1.0
    category_cap: int = 0
    cache: str = "none"
    cache_ttl_s: float = 300.0
    cache_mb: float = 64.0
    redis_timeout_s: float = 0.05
    enable_latency_logging: bool = False

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: For the first one that cannot be; names the option.
        """
        _expect(
            self.model_name, bool(re.fullmatch(r"[\w.-]+", self.model_name)), "model_name", "a name"
        )
        host = bool(_HOST.fullmatch(self.predictor_host))
        _expect(self.predictor_host, host, "predictor_host", "HOST or HOST:PORT")
        _within(self.http_port, "http_port", 1, 65535)
        for option in (
            "max_fetch",
            "max_history",
            "history_length",
            "max_batch",
            "max_body_bytes",
        ):
            _within(getattr(self, option), option, 1, math.inf)
        _within(self.max_k, "max_k", 1, self.max_fetch)
        for option in (
            "predictor_timeout_s",
            "reload_s",
            "cache_ttl_s",
            "cache_mb",
            "redis_timeout_s",
        ):
            _within(getattr(self, option), option, 0.001, 1e7)
        _within(self.overfetch, "overfetch", 1.0, 1000.0)
        _within(self.mmr_lambda, "mmr_lambda", 0.0, 1.0)
        _within(self.category_cap, "category_cap", 0, math.inf)
        policies = get_args(OnLookupError)
        known = self.on_lookup_error in policies
        _expect(self.on_lookup_error, known, "on_lookup_error", " or ".join(policies))
        cache = self.cache in ("none", "memory") or self.cache_is_redis
        _expect(_hidden(self.cache), cache, "cache", "none, memory, redis:// or env:NAME")
        self._check_features()

    @property
    def cache_is_redis(self) -> bool:
        """Whether answers are cached in Redis."""
        return is_redis(self.cache)

    @property
    def predictor_url(self) -> str:
        """Base URL of the predictor."""
        return f"{'https' if self.predictor_use_ssl else 'http'}://{self.predictor_host}"

    @property
    def filters_version(self) -> str:
        """A digest of what decides which items are asked for and kept.

        It is a part of a cached answer's key, so that a transformer with other filters never
        meets answers that were fetched for these.
        """
        named = (
            "filter_bought",
            "overfetch",
            "max_fetch",
            "history_length",
            "mmr_lambda",
            "category_cap",
            "category_column",
            "stock_column",
            "vector_column",
        )
        text = repr([(name, getattr(self, name)) for name in named])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _check_features(self) -> None:
        columns = (self.category_column, self.stock_column, self.vector_column)
        if any(columns) and not self.items:
            raise SettingsError(
                f"--items: found nothing, expected where column {max(columns)!r} is"
            )
        if self.items and not any(columns):
            raise SettingsError(
                "--items: found no column to read, expected --category_column, --stock_column or"
                " --vector_column"
            )
        if self.category_cap and not self.category_column:
            raise SettingsError("--category_cap: found no --category_column, expected one")
        if self.mmr_lambda < 1.0 and not (self.category_column or self.vector_column):
            raise SettingsError(
                "--mmr_lambda: found neither --category_column nor --vector_column, expected one"
            )


def is_redis(uri: str) -> bool:
    """Return whether a URI is one of Redis."""
    return uri.partition("://")[0] in _REDIS


def read_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the command line.

    Args:
        argv: Its words, without the program's name.
        environment: Where the values of `env:NAME`, and the revision by default, are.

    Raises:
        SettingsError: If an option is unknown, missing or out of range.
    """
    options = vars(_parser().parse_args(argv))
    # KServe's controller adds it to every transformer with a containerConcurrency. One process
    # serves here: a second worker would hold a second copy of tables and cache.
    del options["workers"]
    for name in ("cache", "history", "items"):
        options[name] = _by_reference(name, options[name], environment)
    if not options["revision"]:
        options["revision"] = own_revision(options["model_name"], environment)
    return Settings(**options)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="serving.transformer",
        allow_abbrev=False,
        description=__doc__,
        epilog="What each option means: class Settings in serving/transformer/settings.py.",
    )
    for field in fields(Settings):
        option = f"--{field.name}"
        if field.name in ("model_name", "predictor_host"):
            parser.add_argument(option, required=True)
        elif field.name in ("filter_bought", "enable_latency_logging"):
            parser.add_argument(option, action="store_true")
        elif field.name == "predictor_use_ssl":
            parser.add_argument(option, type=_truth, default=False)
        else:
            parser.add_argument(option, type=type(field.default), default=field.default)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    return parser


def _by_reference(name: str, value: str, environment: Mapping[str, str]) -> str:
    """Return what an environment variable holds for `env:NAME`, else the value itself."""
    if not value.startswith("env:"):
        if is_redis(value) and "@" in value:
            raise SettingsError(
                f"--{name}: found a user or password, which the process list shows; expected"
                " env:NAME, the environment variable that holds the URL"
            )
        return _redis_checked(name, value)
    variable = value.removeprefix("env:")
    if not environment.get(variable):
        raise SettingsError(f"--{name}: found no environment variable {variable!r}, expected one")
    return _redis_checked(name, environment[variable])


def _redis_checked(name: str, value: str) -> str:
    if not is_redis(value):
        return value
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and (parts.port or 1) > 0
        sound = sound and bool(re.fullmatch(r"/?[0-9]*", parts.path))
    except ValueError:
        sound = False
    _expect(_hidden(value), sound, name, "redis://HOST:PORT/DATABASE")
    return value


def _hidden(uri: str) -> str:
    """Return a URI without what stands before its host."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected true or false")
    return text.lower() == "true"


def _expect(found: str, sound: bool, name: str, expected: str) -> None:
    if not sound:
        raise SettingsError(f"--{name}: found {found[:200]!r}, expected {expected}")


def _within(value: float, name: str, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        upper = "" if high == math.inf else f" to {high:g}"
        raise SettingsError(f"--{name}: found {value}, expected {low:g}{upper or ' or more'}")
