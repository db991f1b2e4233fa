"""A SavedModel with its tables stored smaller: the same variables, the same signatures."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.checkpoint.trackable_view import TrackableView

from components.compress.formats import TableFormat
from components.compress.table_readers import Rewriter, unknown_readers
from components.errors import InputError

# A table has a row per user, item or word: more than a layer of these networks has inputs.
_LEAST_ROWS = 256
_KEY = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class Table:
    """One float32 variable of the model.

    Attributes:
        name: Where it is in the model, its parts joined by "/".
        shape: Its shape.
        smaller: Whether it is stored in the smaller format.
    """

    name: str
    shape: tuple[int, ...]
    smaller: bool


def write_smaller(model_dir: Path, target: Path, *, table_format: TableFormat) -> list[Table]:
    """Write a SavedModel that computes the same from tables stored in a smaller format.

    Tables are float32 matrices with at least 256 rows. What is beside the SavedModel's own files,
    in `assets.extra`, is copied.

    Args:
        model_dir: The SavedModel.
        target: Folder to write; must not exist.
        table_format: How tables are stored.

    Returns:
        Its float32 variables.

    Raises:
        InputError: If there is no SavedModel, it has no table, or a table holds NaN or infinity.
    """
    if not (model_dir / "saved_model.pb").is_file():
        raise InputError(str(model_dir), "no saved_model.pb", "a SavedModel")
    loaded = tf.saved_model.load(str(model_dir))
    variables = _variables(loaded, model_dir)
    tables = _tables(variables, loaded.signatures.values())
    if not tables:
        found = f"no float32 table of at least {_LEAST_ROWS} rows"
        raise InputError(str(model_dir), found, "something to store smaller")
    module, handles = tf.Module(), {}
    for name, variable in variables.items():
        value = variable.numpy()
        stored = table_format.store(_finite(value, name)) if name in tables else value
        copy = tf.Variable(stored, trainable=False)
        _attach(module, name.split("/"), copy)
        handles[id(variable.handle)] = (copy.handle, name in tables)
    signatures = {
        name: _signature(function, handles, table_format)
        for name, function in loaded.signatures.items()
    }
    module.resources = [
        part for part in TrackableView(loaded).descendants() if hasattr(part, "resource_handle")
    ]
    tf.saved_model.save(module, str(target), signatures=signatures)
    if (model_dir / "assets.extra").is_dir():
        shutil.copytree(model_dir / "assets.extra", target / "assets.extra")
    return [
        Table(name, tuple(variable.shape), name in tables)
        for name, variable in variables.items()
        if variable.dtype == tf.float32
    ]


def _variables(loaded: Any, model_dir: Path) -> dict[str, tf.Variable]:
    """Return the variables by their names in the checkpoint, in order of name."""
    found = {}
    for key, _ in tf.train.list_variables(str(model_dir / "variables" / "variables")):
        if key.endswith(_KEY):
            part = loaded
            for name in key.removesuffix(_KEY).split("/"):
                part = TrackableView(loaded).children(part)[name]
            found[key.removesuffix(_KEY)] = part
    return found


def _tables(variables: Mapping[str, tf.Variable], signatures: Any) -> set[str]:
    tall = {
        name: variable
        for name, variable in variables.items()
        if variable.dtype == tf.float32
        and variable.shape.rank == 2
        and variable.shape[0] >= _LEAST_ROWS
    }
    for function in signatures:
        graph = function.graph.as_graph_def()
        for placeholder, tensor in _captures(function):
            for name, variable in list(tall.items()):
                if tensor is variable.handle and unknown_readers(graph, placeholder):
                    del tall[name]
    return set(tall)


def _captures(function: Any) -> list[tuple[str, tf.Tensor]]:
    """Return what a function reads beside its arguments: placeholder and tensor."""
    captured = function.captured_inputs
    inner = function.graph.inputs[len(function.graph.inputs) - len(captured) :]
    return [
        (placeholder.op.name, tensor) for placeholder, tensor in zip(inner, captured, strict=True)
    ]


def _finite(table: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    if not np.isfinite(table).all():
        raise InputError(f"table {name}", "a number that is not finite", "finite numbers")
    return table


def _attach(module: tf.Module, path: list[str], variable: tf.Variable) -> None:
    """Make the variable an attribute, so that its name in the checkpoint is the path."""
    *folders, last = path
    for folder in folders:
        if not hasattr(module, folder):
            setattr(module, folder, tf.Module())
        module = getattr(module, folder)
    setattr(module, last, variable)


def _signature(
    function: Any,
    handles: Mapping[int, tuple[tf.Tensor, bool]],
    table_format: TableFormat,
) -> Any:
    """Return a signature that computes the same from the new variables."""
    captures, stored = {}, set()
    for placeholder, tensor in _captures(function):
        handle, smaller = handles.get(id(tensor), (tensor, False))
        captures[placeholder] = handle
        if smaller:
            stored.add(placeholder)
    graph = Rewriter(function.graph.as_graph_def(), table_format).rewrite(stored)
    read = {
        source.partition(":")[0].removeprefix("^") for node in graph.node for source in node.input
    }
    specs = function.structured_input_signature[1]
    names = sorted(function.structured_outputs)
    results = [tensor.name for tensor in function.graph.outputs]

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        into = tf.compat.v1.get_default_graph()
        held = {name: into.capture(tensor) for name, tensor in captures.items() if name in read}
        given = held | {name: tensor for name, tensor in inputs.items() if name in read}
        outputs = tf.graph_util.import_graph_def(graph, given, results, name="")
        for name, tensor in zip(names, outputs, strict=True):
            tensor.set_shape(function.structured_outputs[name].shape)
        return dict(zip(names, outputs, strict=True))

    return tf.function(call, autograph=False).get_concrete_function(**specs)
