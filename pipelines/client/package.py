"""A compiled pipeline as the client needs it: its name, its content's digest, its parameters."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.errors import InputError


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a pipeline.

    Attributes:
        type: KFP's name of it: STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST or STRUCT.
        required: Whether a run must give it.
    """

    type: str
    required: bool


@dataclasses.dataclass(frozen=True)
class CompiledPipeline:
    """A pipeline compiled to YAML.

    Attributes:
        file: Where it was read.
        name: The pipeline's own name.
        description: The pipeline's description, "" without one.
        digest: `sha256:` and the digest of the file's bytes.
        parameters: Its parameters by name.
    """

    file: Path
    name: str
    description: str
    digest: str
    parameters: Mapping[str, Parameter]


def read_package(file: Path) -> CompiledPipeline:
    """Read a compiled pipeline.

    Args:
        file: YAML as `compile.py` writes it.

    Raises:
        InputError: If the file cannot be read or holds something else than a KFP v2 pipeline.
    """
    expected = "a pipeline compiled to KFP v2 YAML, by compile.py"
    try:
        content = file.read_bytes()
        documents: list[Any] = list(yaml.load_all(content, yaml.CSafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), str(error), expected) from error
    except yaml.YAMLError as error:
        raise InputError(str(file), f"no YAML: {error}", expected) from error
    spec = documents[0] if documents else None
    if file.suffix not in (".yaml", ".yml") or not isinstance(spec, dict):
        raise InputError(str(file), f"{file.suffix or 'no'} file", expected)
    if "apiVersion" in spec:
        raise InputError(str(file), "manifests for kubectl apply", expected)
    _check_spec(file, spec, expected)
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return CompiledPipeline(
        file=file,
        name=spec["pipelineInfo"]["name"],
        description=spec["pipelineInfo"].get("description", ""),
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        parameters={
            name: Parameter(
                type=definition["parameterType"],
                required="defaultValue" not in definition and not definition.get("isOptional"),
            )
            for name, definition in inputs.items()
        },
    )


def _check_spec(file: Path, spec: dict[str, Any], expected: str) -> None:
    """Refuse what KFP's own schema of a pipeline refuses, and what lacks a name or steps."""
    from google.protobuf import json_format  # type: ignore[import-untyped]
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as error:
        raise InputError(str(file), str(error), expected) from error
    if not parsed.pipeline_info.name or not parsed.root.dag.tasks:
        raise InputError(str(file), "no pipelineInfo.name or no steps", expected)
