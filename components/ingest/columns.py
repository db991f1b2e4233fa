"""Turns a column of any sensible type into the one type that the rest of Shopflow knows."""

import polars as pl

from components.errors import InputError

_ISO_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
)  # fmt: skip
_ISO_ZONED = (
    "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z",
    "%Y-%m-%d %H:%M:%S%.f UTC",  # as BigQuery exports a timestamp
)  # fmt: skip
# What a second format in a column is recognised by; not used to read it.
_OTHER_FORMATS = (
    *_ISO_FORMATS, *_ISO_ZONED, "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y", "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y",
    "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%Y%m%d%H%M%S", "%d-%m-%Y %H:%M",
    "%d-%m-%Y %H:%M:%S", "%d-%m-%Y", "%m-%d-%Y %H:%M", "%m-%d-%Y %H:%M:%S", "%m-%d-%Y",
    "%b %d, %Y", "%a, %d %b %Y %H:%M:%S GMT",
)  # fmt: skip
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_YEAR_9999_S = 253_402_214_400


def as_text(values: pl.Series, *, where: str) -> pl.Series:
    """Return ids, categories or titles as text; blank is missing.

    Args:
        values: Text, whole numbers (also as floats, which is what a gap makes of them) or booleans.
        where: File and column, for errors.

    Raises:
        InputError: If the values are of another type, or floats with a fraction.
    """
    kind = values.dtype
    if kind.is_float():
        whole = values.fill_nan(None).cast(pl.Int64, strict=False)
        broken = values.filter((whole.cast(pl.Float64) != values) & values.is_finite())
        if len(broken):
            raise InputError(where, f"the number {broken[0]}", "text or whole numbers")
        return whole.cast(pl.String)
    if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
        text = values.cast(pl.String).str.strip_chars()
        return text.set(text == "", None)
    if kind.is_integer() or kind in (pl.Boolean, pl.Null):
        return values.cast(pl.String)
    raise InputError(where, f"type {kind}", "text or whole numbers")


def as_number(values: pl.Series, *, where: str) -> pl.Series:
    """Return numbers as float64; blank and NaN are missing.

    Raises:
        InputError: If a value is not a number; shows the first.
    """
    if values.dtype == pl.String:
        text = values.str.strip_chars()
        numbers = text.cast(pl.Float64, strict=False)
        broken = text.filter(numbers.is_null() & text.is_not_null() & (text != ""))
        if len(broken):
            raise InputError(where, _shown(broken[0]), "a number")
    elif values.dtype.is_numeric() or values.dtype == pl.Null:
        numbers = values.cast(pl.Float64)
    else:
        raise InputError(where, f"type {values.dtype}", "numbers")
    return numbers.fill_nan(None)


def as_time(
    values: pl.Series, *, unit: str | None, text_format: str | None, where: str
) -> pl.Series:
    """Return times in microseconds, UTC without a zone; what is no time at all is missing.

    A text that is a time in another format is an error instead: dropping it would lose a whole
    source of events without a word.

    Args:
        values: Timestamps, dates, whole numbers since 1970, or text.
        unit: Unit of whole numbers: s, ms, us or ns.
        text_format: strptime format of text; ISO 8601 when None and `unit` is None.
        where: File and column, for errors.

    Raises:
        InputError: If whole numbers come without a unit, times are in two formats, or the type
            holds no times.
    """
    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        zoned = values.dt.convert_time_zone("UTC") if kind.time_zone else values
        return zoned.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    if kind in (pl.Date, pl.Null):
        return values.cast(pl.Datetime("us"))
    if kind.is_integer() or kind.is_float():
        if unit is None:
            raise InputError(where, f"times as numbers, type {kind}", "events.time_unit: s, ms, …")
        return _since_1970(values, unit=unit)
    if kind != pl.String:
        raise InputError(where, f"type {kind}", "timestamps, whole numbers or text")
    text = values.str.strip_chars()
    if unit is not None:
        times = _since_1970(text.cast(pl.Float64, strict=False), unit=unit)
    else:
        times = _parsed(text, text_format=text_format)
    unread = text.filter(times.is_null() & text.is_not_null() & (text != ""))
    _refuse_second_format(
        unread, expected=unit and f"numbers in {unit}" or text_format, where=where
    )
    return times


def _since_1970(values: pl.Series, *, unit: str) -> pl.Series:
    """Numbers in the wrong unit stay inside the calendar, where a rule can call them impossible."""
    seconds = values.cast(pl.Float64).fill_nan(None) / _PER_SECOND[unit]
    micros = seconds.clip(-_YEAR_9999_S, _YEAR_9999_S) * 10**6
    return micros.round().cast(pl.Int64).cast(pl.Datetime("us"))


def _parsed(text: pl.Series, *, text_format: str | None) -> pl.Series:
    times = pl.Series(text.name, [None] * len(text), dtype=pl.Datetime("us"))
    for candidate in (text_format,) if text_format else (*_ISO_FORMATS, *_ISO_ZONED):
        if times.null_count() == text.null_count():
            break
        more = text.str.to_datetime(candidate, strict=False, time_unit="us")
        kind = more.dtype
        if isinstance(kind, pl.Datetime) and kind.time_zone:
            more = more.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        times = times.zip_with(times.is_not_null(), more)
    return times


def _refuse_second_format(unread: pl.Series, *, expected: str | None, where: str) -> None:
    sample = unread.unique(maintain_order=True).head(1000)
    if sample.is_empty():
        return
    as_unix = sample.cast(pl.Float64, strict=False)
    readings = [sample.str.to_datetime(f, strict=False, time_unit="us") for f in _OTHER_FORMATS]
    for other in (as_unix, *readings):
        if other.null_count() < len(other):
            second = _shown(sample.filter(other.is_not_null())[0])
            found = f"times in two formats, the second like {second}"
            raise InputError(where, found, f"all as {expected or 'ISO 8601'}")


def _shown(value: str) -> str:
    return repr(value[:60])
