"""From the protocols' JSON to columns of checked values; every refusal says where and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Kind = Literal["string", "integer", "number"]
_PYTHON_TYPE: Mapping[Kind, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
}
_V2_TYPES: Mapping[Kind, tuple[str, ...]] = {
    "string": ("BYTES",),
    "integer": ("INT64", "INT32", "INT16", "INT8", "UINT32", "UINT16", "UINT8"),
    "number": ("FP64", "FP32", "INT64", "INT32"),
}
REQUIRED = object()
DEFAULT_SIGNATURE = "serving_default"


class BadRequest(ValueError):
    """A request nobody could answer; the message is for its sender."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a signature.

    Attributes:
        name: Its name.
        kind: What one value is.
        repeated: Whether a row has a list of values.
        default: Value of a row that does not say; REQUIRED when there is none.
    """

    name: str
    kind: Kind
    repeated: bool = False
    default: Any = REQUIRED


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Attributes:
        rows: Rows in a request.
        k: Recommendations per row.
        values: Values in a row's list, such as the history.
        characters: Characters in a text.
    """

    rows: int = 256
    k: int = 1000
    values: int = 1000
    characters: int = 10_000


@dataclass(frozen=True)
class Batch:
    """Checked rows, by column.

    Attributes:
        signature: The signature asked for.
        columns: Values by input; a repeated input is padded with "" or 0 on the left, so that
            the most recent entry stays last.
        rows: Number of rows.
    """

    signature: str
    columns: Mapping[str, list[Any]]
    rows: int


def decoded(body: bytes, content_type: str) -> object:
    """Decode a body that KServe left alone: its content type is not literally a JSON type's.

    Args:
        body: The body as it came.
        content_type: Its Content-Type, parameters included.

    Raises:
        BadRequest: If it is not said to be JSON, or is none.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest(f"Content-Type: found {content_type[:80]!r}, expected 'application/json'")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: found no JSON: {error}") from error


def read_v1(
    payload: object, *, signatures: Mapping[str, Sequence[InputSpec]], limits: Limits
) -> Batch:
    """Read TensorFlow Serving's row format.

    Args:
        payload: The decoded JSON body.
        signatures: Inputs of every signature of the model.
        limits: How much one request may ask for.

    Raises:
        BadRequest: If the payload is anything else.
    """
    if not isinstance(payload, dict):
        raise BadRequest(f"body: found {_shown(payload)}, expected a JSON object")
    if "instances" not in payload:
        raise BadRequest(f"body: found keys {sorted(payload)[:5]}, expected 'instances'")
    signature = payload.get("signature_name", DEFAULT_SIGNATURE)
    return _batch(payload["instances"], signature, signatures=signatures, limits=limits)


def read_v2(
    tensors: Mapping[str, tuple[str, Sequence[int], Sequence[Any]]],
    signature: object,
    *,
    signatures: Mapping[str, Sequence[InputSpec]],
    limits: Limits,
) -> Batch:
    """Read the tensors of the Open Inference Protocol.

    Args:
        tensors: Datatype, shape and data by input name.
        signature: Parameter `signature_name` of the request; None for the default.
        signatures: Inputs of every signature of the model.
        limits: How much one request may ask for.

    Raises:
        BadRequest: If they do not fit the signature.
    """
    signature = DEFAULT_SIGNATURE if signature is None else signature
    specs = {spec.name: spec for spec in _specs(signature, signatures)}
    columns = {
        name: _column(name, *tensor, specs=specs, limits=limits) for name, tensor in tensors.items()
    }
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) != 1:
        raise BadRequest(f"inputs: found {sizes} rows, expected the same number, at least one")
    rows = range(next(iter(sizes.values())))
    instances = [{name: column[row] for name, column in columns.items()} for row in rows]
    return _batch(instances, signature, signatures=signatures, limits=limits)


def _batch(
    instances: object,
    signature: object,
    *,
    signatures: Mapping[str, Sequence[InputSpec]],
    limits: Limits,
) -> Batch:
    specs = _specs(signature, signatures)
    if not isinstance(instances, list) or not instances:
        raise BadRequest(f"instances: found {_shown(instances)}, expected a list of rows")
    if len(instances) > limits.rows:
        raise BadRequest(f"instances: found {len(instances)} rows, expected at most {limits.rows}")
    known = {spec.name for spec in specs}
    for number, row in enumerate(instances):
        if not isinstance(row, dict):
            raise BadRequest(f"instances[{number}]: found {_shown(row)}, expected an object")
        if unknown := sorted(set(row) - known):
            raise BadRequest(
                f"instances[{number}]: found {unknown[0][:80]!r}, expected {sorted(known)}"
            )
    columns = {}
    for spec in specs:
        values = [
            _value(
                row.get(spec.name, spec.default), spec, f"instances[{number}].{spec.name}", limits
            )
            for number, row in enumerate(instances)
        ]
        columns[spec.name] = _padded(values, spec) if spec.repeated else values
    return Batch(str(signature), columns, len(instances))


def _specs(signature: object, signatures: Mapping[str, Sequence[InputSpec]]) -> Sequence[InputSpec]:
    if not isinstance(signature, str) or signature not in signatures:
        raise BadRequest(
            f"signature_name: found {_shown(signature)}, expected one of {sorted(signatures)}"
        )
    return signatures[signature]


def _value(value: object, spec: InputSpec, where: str, limits: Limits) -> object:
    if value is REQUIRED:
        raise BadRequest(f"{where}: found nothing, expected a {spec.kind}")
    if not spec.repeated:
        return _scalar(value, spec, where, limits)
    if not isinstance(value, list):
        raise BadRequest(f"{where}: found {_shown(value)}, expected a list")
    if len(value) > limits.values:
        raise BadRequest(f"{where}: found {len(value)} values, expected at most {limits.values}")
    return [_scalar(entry, spec, f"{where}[{i}]", limits) for i, entry in enumerate(value)]


def _scalar(value: object, spec: InputSpec, where: str, limits: Limits) -> object:
    if isinstance(value, bool) or not isinstance(value, _PYTHON_TYPE[spec.kind]):
        raise BadRequest(f"{where}: found {_shown(value)}, expected a {spec.kind}")
    if isinstance(value, str):
        if len(value) > limits.characters:
            raise BadRequest(
                f"{where}: found {len(value)} characters, expected at most {limits.characters}"
            )
        if "\0" in value:
            raise BadRequest(f"{where}: found a NUL character, expected text without")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"{where}: found half a surrogate pair, expected Unicode") from error
    assert isinstance(value, int | float)
    if not -(2**63) <= value < 2**63:  # also false for NaN
        raise BadRequest(f"{where}: found {str(value)[:40]}, expected a 64-bit {spec.kind}")
    if spec.name == "k" and not 1 <= value <= limits.k:
        raise BadRequest(f"{where}: found {value}, expected 1 to {limits.k}")
    return value


def _padded(rows: list[Any], spec: InputSpec) -> list[Any]:
    width = max(1, *(len(row) for row in rows)) if rows else 1
    padding = b"" if spec.kind == "string" else 0
    return [[padding] * (width - len(row)) + row for row in rows]


def _column(
    name: str,
    datatype: str,
    shape: Sequence[int],
    data: Sequence[Any],
    *,
    specs: Mapping[str, InputSpec],
    limits: Limits,
) -> list[Any]:
    if name not in specs:
        raise BadRequest(f"inputs: found {name[:80]!r}, expected {sorted(specs)}")
    spec = specs[name]
    if datatype not in _V2_TYPES[spec.kind]:
        raise BadRequest(f"{name}: found {datatype[:20]}, expected {_V2_TYPES[spec.kind][0]}")
    # Before it is multiplied, because a shape may be as long as the whole body.
    wanted = "[rows, values]" if spec.repeated else "[rows]"
    if not (len(shape) == 2 if spec.repeated else len(shape) == 1 or list(shape[1:]) == [1]):
        raise BadRequest(f"{name}: found shape {str(shape[:5])[:80]}, expected {wanted}")
    flat = _flat(data)
    if any(size < 0 for size in shape) or math.prod(shape) != len(flat):
        raise BadRequest(
            f"{name}: found {len(flat)} values, shape {str(shape[:5])[:80]} has others"
        )
    # Rows of no values may be any number, whatever the body's size.
    if shape[0] > limits.rows:
        raise BadRequest(f"{name}: found {str(shape[0])[:40]} rows, expected at most {limits.rows}")
    if not spec.repeated:
        return flat
    width = shape[1]
    return [flat[row * width : (row + 1) * width] for row in range(shape[0])]


def _flat(data: Sequence[Any], depth: int = 0) -> list[Any]:
    if depth > 2:
        raise BadRequest("data: found lists more than two deep, expected a flat or nested tensor")
    flat: list[Any] = []
    for entry in data:
        if isinstance(entry, list):
            flat.extend(_flat(entry, depth + 1))
        else:
            flat.append(entry)
    return flat


def _shown(value: object) -> str:
    if value == []:
        return "an empty list"
    names = {"NoneType": "null", "dict": "an object", "list": "a list", "bool": "a boolean"}
    kind = names.get(type(value).__name__, type(value).__name__)
    return f"{kind} {str(value)[:40]!r}" if isinstance(value, str | int | float) else kind
