"""A graph that reads float32 tables, rewritten to read the same tables as they are stored.

A variable keeps its place in the graph: it is the same handle, of another type. So what passes
handles on (calls, loops, branches) stays as it is, and only what reads them is replaced:

    ReadVariableOp → stored           and where the numbers are used      widen(stored)
    ResourceGather → the stored rows                                      widen(rows)
    Gather of what was read                                               widen(rows)
    MatMul with its transpose                                             product(queries, stored)
    SparseTensorDenseMatMul                                               sparse_product(…, stored)

The three are those of `TableFormat`. A table that anything else reads is left as it was.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2

from components.compress.formats import TableFormat

# Inputs of a call before the arguments of the functions it calls.
_CALLS = {
    "PartitionedCall": 0, "StatefulPartitionedCall": 0, "While": 0, "StatelessWhile": 0,
    "If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1,
}  # fmt: skip
_READERS = {"ReadVariableOp", "ResourceGather"}
_numbers = itertools.count()

Node = Any  # a NodeDef; protobuf's classes have no types here
Library = Mapping[str, Any]


def unknown_readers(graph: Any, placeholder: str) -> set[str]:
    """Return the operations that a table's handle reaches and that cannot be replaced."""
    library = {function.signature.name: function for function in graph.library.function}
    return set(_unknown(graph.node, placeholder, library))


def _unknown(nodes: Iterable[Node], handle: str, library: Library) -> Iterable[str]:
    for node in nodes:
        for place, source in enumerate(node.input):
            if source.removesuffix(":0") != handle:
                continue
            if node.op in _CALLS:
                for function in map(library.__getitem__, _called(node)):
                    argument = function.signature.input_arg[place - _CALLS[node.op]].name
                    yield from _unknown(function.node_def, argument, library)
            elif node.op not in _READERS:
                yield node.op


def _called(node: Node) -> list[str]:
    names = [value.func.name for value in node.attr.values() if value.HasField("func")]
    return [*names, *(f.name for value in node.attr.values() for f in value.list.func)]


class Rewriter:
    """Rewrites one signature's graph, and the functions it calls."""

    def __init__(self, graph: Any, table_format: TableFormat) -> None:
        """Keep the graph's functions and make the format's."""
        self._library = {function.signature.name: function for function in graph.library.function}
        self._nodes = list(graph.node)
        self._versions = graph.versions
        self._dtype = table_format.dtype.as_datatype_enum
        rows, table = tf.TensorSpec(None, table_format.dtype), _matrix(table_format.dtype)
        sparse = tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None], tf.float32)
        size = tf.TensorSpec([2], tf.int64)
        self._widen = self._add(table_format.widen, rows)
        self._product = self._add(table_format.product, _matrix(tf.float32), table)
        self._sparse = self._add(table_format.sparse_product, *sparse, size, table)
        self._done: dict[tuple[str, frozenset[int]], str] = {}

    def _add(self, function: Callable[..., tf.Tensor], *specs: tf.TensorSpec) -> str:
        made = tf.function(function).get_concrete_function(*specs).function_def
        copy = function_pb2.FunctionDef()
        copy.CopyFrom(made)
        return self._register(copy)

    def _register(self, function: Any) -> str:
        function.signature.name = f"{function.signature.name}_stored_{next(_numbers)}"
        self._library[function.signature.name] = function
        return str(function.signature.name)

    def rewrite(self, placeholders: Iterable[str]) -> Any:
        """Return the graph, its placeholders left out, with these as handles of stored tables."""
        nodes, _ = self._body(self._nodes, frozenset(placeholders), function=False)
        graph = graph_pb2.GraphDef(versions=self._versions)
        graph.node.extend(node for node in nodes if node.op != "Placeholder")
        graph.library.function.extend(self._reached(graph.node))
        return graph

    def _reached(self, nodes: Iterable[Node]) -> Sequence[Any]:
        found: dict[str, Any] = {}
        waiting = [name for node in nodes for name in _called(node)]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self._library:
                found[name] = self._library[name]
                waiting += [called for node in found[name].node_def for called in _called(node)]
        return list(found.values())

    def _function(self, name: str, arguments: frozenset[int]) -> str:
        """Return a function's copy in which these arguments are handles of stored tables."""
        if (name, arguments) not in self._done:
            copy = function_pb2.FunctionDef()
            copy.CopyFrom(self._library[name])
            handles = frozenset(copy.signature.input_arg[place].name for place in arguments)
            nodes, renamed = self._body(copy.node_def, handles, function=True)
            del copy.node_def[:]
            copy.node_def.extend(nodes)
            for result, source in copy.ret.items():
                copy.ret[result] = renamed.get(source, source)
            self._done[name, arguments] = self._register(copy)
        return self._done[name, arguments]

    def _body(
        self, nodes: Iterable[Node], handles: frozenset[str], *, function: bool
    ) -> tuple[list[Node], dict[str, str]]:
        """Return a body's nodes rewritten, and the new names of outputs that were renamed."""
        body = _Body(nodes, function=function)
        for node in list(body.nodes.values()):
            places = [n for n, s in enumerate(node.input) if s.removesuffix(":0") in handles]
            if not places:
                continue
            if node.op in _CALLS:
                arguments = frozenset(place - _CALLS[node.op] for place in places)
                self._redirect(node, arguments)
            else:
                self._replace_reader(body, node)
        body.rename()
        return list(body.nodes.values()), body.renamed

    def _redirect(self, node: Node, arguments: frozenset[int]) -> None:
        for value in node.attr.values():
            for called in [value.func] if value.HasField("func") else value.list.func:
                called.name = self._function(called.name, arguments)

    def _replace_reader(self, body: "_Body", node: Node) -> None:
        consumers = body.consumers(node, "value") if node.op == "ReadVariableOp" else []
        stored = body.stored_copy(node, self._dtype)
        for user in consumers:
            if user.op == "SparseTensorDenseMatMul" and not user.attr["adjoint_b"].b:
                if body.source(user, 3) == node.name:
                    body.call(user, self._sparse, [*user.input[:3], stored], "product")
            elif user.op == "MatMul" and body.source(user, 1) == node.name:
                if user.attr["transpose_b"].b and not user.attr["transpose_a"].b:
                    body.call(user, self._product, [user.input[0], stored], "product")
            elif user.op == "Transpose" and body.constant(user, 1) == [1, 0]:
                for product in body.consumers(user, "y"):
                    plain = not (product.attr["transpose_a"].b or product.attr["transpose_b"].b)
                    if product.op == "MatMul" and plain and body.source(product, 1) == user.name:
                        body.call(product, self._product, [product.input[0], stored], "product")
            elif user.op == "GatherV2" and body.source(user, 0) == node.name:
                if body.constant(user, 2) == 0 and not user.attr["batch_dims"].i:
                    rows = body.gather_copy(user, stored, self._dtype)
                    body.call(user, self._widen, [rows], "output")
        body.call(node, self._widen, [stored], "value" if node.op == "ReadVariableOp" else "output")


def _matrix(dtype: tf.DType) -> tf.TensorSpec:
    return tf.TensorSpec([None, None], dtype)


class _Body:
    """The nodes of a graph or of a function, by name; the two write references differently."""

    def __init__(self, nodes: Iterable[Node], *, function: bool) -> None:
        self.nodes: dict[str, Node] = {}
        for node in nodes:
            self.nodes[node.name] = node_def_pb2.NodeDef()
            self.nodes[node.name].CopyFrom(node)
        self._function = function
        self.renamed: dict[str, str] = {}

    def _reference(self, node: Node, output: str) -> str:
        return f"{node.name}:{output}:0" if self._function else node.name

    def consumers(self, node: Node, output: str) -> list[Node]:
        """Return the nodes that read a node's only output."""
        reference = self._reference(node, output)
        return [
            other
            for other in self.nodes.values()
            if any(source.removesuffix("" if self._function else ":0") == reference
                   for source in other.input)
        ]  # fmt: skip

    def source(self, node: Node, place: int) -> str:
        """Return the name of the node that an input comes from."""
        return str(node.input[place]).partition(":")[0]

    def constant(self, node: Node, place: int) -> Any:
        """Return an input's value when it is a constant, else None."""
        source = self.nodes.get(self.source(node, place))
        if source is None or source.op != "Const":
            return None
        return np.asarray(tf.make_ndarray(source.attr["value"].tensor)).tolist()

    def _copy(self, node: Node, output: str) -> tuple[Node, str]:
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(node)
        copy.name = f"{node.name}/stored"
        copy.attr.pop("_output_shapes", None)
        self.nodes[copy.name] = copy
        return copy, self._reference(copy, output)

    def stored_copy(self, node: Node, dtype: int) -> str:
        """Add a reader's copy that yields what is stored; return the reference to its output."""
        copy, reference = self._copy(node, "value" if node.op == "ReadVariableOp" else "output")
        copy.attr["dtype"].type = dtype
        return reference

    def gather_copy(self, node: Node, stored: str, dtype: int) -> str:
        """Add a gather's copy that reads the stored table; return the reference to its output."""
        copy, reference = self._copy(node, "output")
        copy.input[0] = stored
        copy.attr["Tparams"].type = dtype
        return reference

    def call(self, node: Node, function: str, inputs: Sequence[str], output: str) -> None:
        """Make a node the call of a function with one float32 result."""
        types = [self._type(node, source) for source in inputs]
        call = node_def_pb2.NodeDef(
            name=node.name, op="PartitionedCall", input=inputs, device=node.device
        )
        call.input.extend(source for source in node.input if source.startswith("^"))
        call.attr["f"].func.name = function
        call.attr["Tin"].list.type.extend(types)
        call.attr["Tout"].list.type.append(tf.float32.as_datatype_enum)
        self.nodes[node.name] = call
        if self._function and output != "output":
            self.renamed[f"{node.name}:{output}:0"] = f"{node.name}:output:0"

    def _type(self, node: Node, source: str) -> int:
        stored = self.nodes.get(source.partition(":")[0])
        if stored is not None and stored.name.endswith("/stored"):
            attribute = "Tparams" if stored.op == "GatherV2" else "dtype"
            return int(stored.attr[attribute].type)
        # A sparse product's three: int64 indices, float32 numbers, int64 shape; a product's one.
        place = list(node.input).index(source)
        sparse = node.op == "SparseTensorDenseMatMul" and place in (0, 2)
        return int((tf.int64 if sparse else tf.float32).as_datatype_enum)

    def rename(self) -> None:
        """Point every input at the new names of the outputs."""
        for node in self.nodes.values():
            for place, source in enumerate(node.input):
                node.input[place] = self.renamed.get(source, source)
