"""A run's parameters, checked against the compiled pipeline's own types before they are sent."""

import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.errors import InputError
from pipelines.client.package import CompiledPipeline

_EXPECTED = {
    "STRING": "a text",
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list, as JSON on the command line",
    "STRUCT": "a mapping, as JSON on the command line",
}


def read_parameters(
    pipeline: CompiledPipeline, *, file: Path | None, given: Sequence[str]
) -> dict[str, Any]:
    """Return a run's parameters by name, of their declared types.

    Args:
        pipeline: What they are for.
        file: YAML with name: value, or None.
        given: `name=value` each, stronger than the file; `name=@file` takes a text from a file.

    Raises:
        InputError: For a parameter that is unknown, missing, given twice or of another type.
    """
    values = {} if file is None else _from_file(pipeline, file)
    seen: set[str] = set()
    for text in given:
        name, separator, value = text.partition("=")
        where = f"-p {name}"
        if not separator:
            raise InputError("-p", repr(text), "name=value")
        if name in seen:
            raise InputError(where, "it twice", "each parameter once")
        seen.add(name)
        values[name] = _from_text(_type_of(pipeline, name, where), value, where)
    missing = sorted(
        name for name, one in pipeline.parameters.items() if one.required and name not in values
    )
    if missing:
        raise InputError(
            "parameters",
            f"no {', '.join(missing)}",
            f"every parameter {pipeline.name} has no default for",
        )
    return values


def _from_file(pipeline: CompiledPipeline, file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(str(file), str(error), "YAML with name: value") from error
    if not isinstance(values, dict):
        raise InputError(str(file), type(values).__name__, "YAML with name: value")
    for name, value in values.items():
        where = f"{file}, {name}"
        expected = _type_of(pipeline, str(name), where)
        if not _fits(value, expected):
            raise InputError(where, f"{type(value).__name__} {value!r}", _EXPECTED[expected])
    return values


def _type_of(pipeline: CompiledPipeline, name: str, where: str) -> str:
    if (parameter := pipeline.parameters.get(name)) is None:
        close = difflib.get_close_matches(name, pipeline.parameters, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(where, "an unknown parameter", f"one of {pipeline.name}'s{hint}")
    return parameter.type


def _from_text(expected: str, text: str, where: str) -> Any:
    if expected == "STRING":
        return _text_of_file(Path(text[1:]), where) if text.startswith("@") else text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not _fits(value, expected):
        raise InputError(where, repr(text), _EXPECTED[expected])
    return value


def _text_of_file(file: Path, where: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(where, str(error), "a readable text file after @") from error


def _fits(value: Any, expected: str) -> bool:
    if isinstance(value, bool):
        return expected == "BOOLEAN"
    return {
        "STRING": isinstance(value, str),
        "NUMBER_INTEGER": isinstance(value, int),
        "NUMBER_DOUBLE": isinstance(value, int | float) and abs(value) <= sys.float_info.max,
        "LIST": isinstance(value, list),
        "STRUCT": isinstance(value, dict),
    }.get(expected, False)
