"""Cron expressions: people write five fields, Kubeflow Pipelines reads seconds first.

KFP's scheduler (robfig/cron v1) takes five fields for seconds, minutes, hours, day and month: an
ordinary `0 3 * * *` would run every hour. And one that never fires keeps it searching for ever.
"""

import datetime
import re

from components.errors import InputError

_MONTHS = {
    name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_DAYS = {name: n for n, name in enumerate("sun mon tue wed thu fri sat".split())}
# Name of a field, its least and greatest value, the words it takes for numbers; seconds first.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
# The scheduler gives up after so many years; two 29th of February are at most eight years apart.
_YEARS = 5
_PART = re.compile(r"(?P<from>\*|\?|\w+)(-(?P<to>\w+))?(/(?P<step>\d+))?", re.ASCII)


def kubeflow_cron(expression: str, *, today: datetime.date) -> str:
    """Return the expression as KFP reads it: six fields, seconds first.

    Args:
        expression: Five fields as in crontab (minute, hour, day, month, day of week), or six with
            the second before them. Names of months and days, ranges, lists and steps are read.
        today: The day from which on it is to fire.

    Raises:
        InputError: If a field is malformed or out of range, or no date fits in the next 5 years.
    """
    fields = expression.lower().split()
    if len(fields) not in (5, 6):
        raise InputError("--cron", f"{expression!r} with {len(fields)} fields", "5 or 6 fields")
    if len(fields) == 5:
        fields = ["0", *fields]
    *_, days, months, weekdays = (
        _values(text, expression, *field) for text, field in zip(fields, _FIELDS, strict=True)
    )
    # Of two days that are given either is enough, as in crontab.
    either = not (_is_any(fields[3]) or _is_any(fields[5]))
    day = today
    while not (
        day.month in months
        and (any if either else all)((day.day in days, day.isoweekday() % 7 in weekdays))
    ):
        day += datetime.timedelta(days=1)
        if day.year > today.year + _YEARS:
            raise InputError("--cron", f"{expression!r}, which never fires", "a date that exists")
    return " ".join(fields)


def _is_any(text: str) -> bool:
    return any(part.startswith(("*", "?")) for part in text.split(","))


def _values(
    text: str, expression: str, name: str, least: int, greatest: int, words: dict[str, int]
) -> set[int]:
    """Return the values one field stands for."""
    values: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part)
        step = int(found["step"] or 1) if found else 0
        if found is None or step == 0:
            raise InputError("--cron", f"{name} {part!r} in {expression!r}", "*, n, n-m or n/step")
        if found["from"] in "*?":
            first, last = least, greatest
        else:
            first = _number(found["from"], words)
            # As the scheduler has it, n/step goes on to the field's end.
            last = (
                _number(found["to"], words) if found["to"] else greatest if found["step"] else first
            )
        if not least <= first <= last <= greatest:
            raise InputError(
                "--cron", f"{name} {part!r} in {expression!r}", f"{least} to {greatest}, ascending"
            )
        values |= set(range(first, last + 1, step))
    return values


def _number(text: str, words: dict[str, int]) -> int:
    return words[text] if text in words else int(text) if text.isdecimal() else -1
