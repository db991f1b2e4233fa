"""Cron expressions: people write five fields, Kubeflow Pipelines reads seconds first.

KFP's scheduler (robfig/cron v1) takes five fields for seconds, minutes, hours, day and month: an
ordinary `0 3 * * *` would run every hour. And one that never fires keeps it searching for ever.
"""

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
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<from>\*|\?|\w+)(-(?P<to>\w+))?(/(?P<step>\d+))?")


def kubeflow_cron(expression: str) -> str:
    """Return the expression as KFP reads it: six fields, seconds first.

    Args:
        expression: Five fields as in crontab (minute, hour, day, month, day of week), or six with
            the second before them. Names of months and days, ranges, lists and steps are read.

    Raises:
        InputError: If a field is malformed or out of range, or no date ever fits.
    """
    fields = expression.lower().split()
    if len(fields) not in (5, 6):
        raise InputError("--cron", f"{expression!r} with {len(fields)} fields", "5 or 6 fields")
    if len(fields) == 5:
        fields = ["0", *fields]
    values = [
        _values(text, expression, *field) for text, field in zip(fields, _FIELDS, strict=True)
    ]
    days, months = values[3], values[4]
    # With both days given either is enough, and every week has every day of the week.
    if _is_any(fields[5]) and not any(
        day <= _LONGEST[month - 1] for day in days for month in months
    ):
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
