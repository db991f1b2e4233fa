"""What a SavedModel computes, as one digest."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from components.checksum import file_sha256, tree_files

_GRAPH = "saved_model.pb"
# Made of a random id and of checksums of the graph as it happened to be written.
_FINGERPRINT = "fingerprint.pb"
# Names of things, which change with the folder a vocabulary was written to or the order of loading.
_NAMING = {"shared_name", "container", "_class", "config_proto", "config"}


def model_identity(folder: Path) -> str:
    """Return one SHA-256 for what the SavedModels below a folder compute.

    A model trained again from the same data, seed and code has the same identity, although its
    files differ: TensorFlow numbers nodes and orders functions and their arguments anew each time.
    Weights and vocabularies count byte by byte. Of the graph counts each node's operation, its
    constants, and what its inputs compute, up to the function's arguments; names do not.
    TensorFlow's own fingerprint would not do: it leaves functions out.

    Raises:
        FileNotFoundError: If there is no SavedModel below the folder.
    """
    files = tree_files(folder) if folder.is_dir() else []
    if _GRAPH not in {file.name for file in files}:
        raise FileNotFoundError(f"{folder}: no {_GRAPH}")
    parts = []
    for file in files:
        if file.name != _FINGERPRINT:
            of_file = _graph_sha256 if file.name == _GRAPH else file_sha256
            parts.append(f"{file.as_posix()} {of_file(folder / file)}")
    return _sha256(parts)


def _sha256(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _graph_sha256(path: Path) -> str:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    graphs = []
    for meta_graph in saved.meta_graphs:
        graph = _Graph(meta_graph.graph_def.library.function)
        functions = sorted(graph.function(name) for name in graph.functions)
        nodes = sorted(graph.body(meta_graph.graph_def.node).values())
        signatures = sorted(
            f"{name} {field.name}:{field.dtype}:{field.tensor_shape}"
            for name, signature in meta_graph.signature_def.items()
            for field in _named(signature)
        )
        graphs.append(_sha256([*functions, *nodes, *signatures]))
    return _sha256(graphs)


def _named(signature: Any) -> Iterable[Any]:
    """Yield a signature's tensors, each under the name that callers use."""
    for fields in (signature.inputs, signature.outputs):
        for name, field in fields.items():
            renamed = type(field)()
            renamed.CopyFrom(field)
            renamed.name = name
            yield renamed


class _Graph:
    """Digests of a library's functions, each computed once."""

    def __init__(self, functions: Iterable[Any]) -> None:
        self.functions = {function.signature.name: function for function in functions}
        self._digests: dict[str, str] = {}

    def function(self, name: str) -> str:
        """Return the digest of a function: of its results, and of every node in it."""
        if name not in self._digests:
            function = self.functions[name]
            body = self.body(function.node_def)
            results = sorted(self._source(result, body) for result in function.ret.values())
            self._digests[name] = _sha256([*results, *sorted(body.values())])
        return self._digests[name]

    def body(self, nodes: Iterable[Any]) -> dict[str, str]:
        """Return the digest of each node, by its name."""
        waiting = {node.name: node for node in nodes}
        done: dict[str, str] = {}
        stack = list(waiting)
        while stack:
            name = stack[-1]
            missing = [
                source
                for source in map(_producer, waiting[name].input)
                if source in waiting and source not in done
            ]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            done[name] = done.get(name) or self._node(waiting[name], done)
        return done

    def _node(self, node: Any, done: dict[str, str]) -> str:
        attributes, calls = [], []
        for key, value in sorted(node.attr.items()):
            called = [value.func.name] if value.HasField("func") else []
            called += [function.name for function in value.list.func]
            if called:
                calls += [self.function(name) for name in called if name in self.functions]
            elif key not in _NAMING:
                attributes.append(f"{key}={value.SerializeToString(deterministic=True).hex()}")
        inputs = [self._source(source, done) for source in node.input]
        # The arguments of a function come in any order.
        return _sha256([node.op, *attributes, *calls, *(sorted(inputs) if calls else inputs)])

    @staticmethod
    def _source(source: str, done: dict[str, str]) -> str:
        """Return the digest of what an input is: a node's output, or an argument."""
        name = _producer(source)
        return f"{done[name]}:{source.partition(':')[2]}" if name in done else "argument"


def _producer(source: str) -> str:
    return source.removeprefix("^").partition(":")[0]
