"""Imports a model.  In: its file, and shapes that override what it declares for inputs.  Out: a module.

Nodes are imported in an order in which every value comes before its use.  An operator is imported by the
function or the declaration that `headrace.ir.graph.importing` finds for it; else by its function body, the
model's own or ONNX's.  What cannot be imported is collected, and its outputs are unknown to the nodes below,
which are then only asked whether they are known at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto
from onnx.defs import onnx_opset_version

from headrace.compiler.frontends.onnx import schema as onnx_schema
from headrace.compiler.frontends.onnx.held import Held, flat, is_structure
from headrace.compiler.frontends.onnx.holding import HOLDING_GRAPHS, HoldingNode
from headrace.compiler.frontends.onnx.inputs import Symbols, input_types
from headrace.compiler.frontends.onnx.node import Node, NodeUnsupported, plain_attribute
from headrace.compiler.frontends.onnx.order import count_of, ordered
from headrace.compiler.frontends.onnx.ports import Shapes, held
from headrace.compiler.frontends.onnx.ranks import declared_ranks
from headrace.compiler.frontends.onnx.reading import Model, canonical_domain, opset_versions, read_model
from headrace.compiler.frontends.onnx.scope import Scope
from headrace.compiler.frontends.onnx.state import State
from headrace.compiler.frontends.onnx.structures import RULES
from headrace.compiler.frontends.onnx.tensors import array_of
from headrace.compiler.frontends.onnx.unsupported import UnsupportedNode
from headrace.ir.core import Value
from headrace.ir.errors import DimError, ModelError, UnsupportedModelError, VerifyError, nearest
from headrace.ir.graph.families import ElementTypeError, tensor
from headrace.ir.graph.importing import Importer, importers
from headrace.ir.module import Module
from headrace.ir.types import TensorType

DEEPEST_CALL = 32  # functions within functions
MOST_DIMS = 64  # of one tensor
MOST_WRITTEN_OUT = 20_000  # nodes that functions and loops add to those of the file, and turns; operations too
MOST_OF_A_NODE = 64  # operations that a node of the file may become without counting as added


def import_model(path: str | Path, shapes: Shapes | None = None) -> Module:
    """The model as a module with one `graph.func @main`.

    Raises ModelError for a file that is no right model, UnsupportedModelError for what we lack (all nodes at
    once), OptionError for a shape that does not fit.
    """
    model = read_model(Path(path))
    symbols = Symbols()
    types = input_types(model.name, model.proto.graph, shapes or {}, symbols)
    state = State(model.name, model.digest, symbols)
    return _Import(model, state).run(types, shapes or {})


class _Import:
    """One model on its way into a state."""

    def __init__(self, model: Model, state: State) -> None:
        self.model = model
        self.state = state
        self.declared_ranks = declared_ranks(model.proto.graph)
        self.problems: list[UnsupportedNode] = []
        nodes = count_of(model.proto.graph.node)
        self.nodes_left = MOST_WRITTEN_OUT + nodes
        self.most_operations = MOST_WRITTEN_OUT + MOST_OF_A_NODE * nodes
        self.functions = {(canonical_domain(f.domain), f.name): f for f in model.proto.functions}
        self.importers: dict[tuple[str, str], list[Importer]] = {}
        for importer in importers():
            self.importers.setdefault((importer.op_type, importer.domain), []).append(importer)

    def run(self, types: Mapping[str, TensorType], shapes: Shapes) -> Module:
        graph, file = self.model.proto.graph, self.model.name
        scope = Scope(self.model.opsets)
        tensors: dict[str, Value] = {}
        self._add_initializers(graph, scope)
        for name, kind in types.items():
            if name in scope.values:
                raise ModelError(f"{file}: input {name!r} is declared twice")
            scope.values[name] = tensors[name] = self.state.block.add_argument(kind, name)
        for declared in graph.input:
            if declared.type.WhichOneof("value") in ("sequence_type", "optional_type"):
                scope.values[declared.name] = held(declared, tensors, shapes)
        self._check_outputs(graph)
        self._nodes(graph.node, scope)
        results = [self._result(o.name, scope) for o in graph.output]
        if self.problems:
            count = f"{len(self.problems)} nodes" if len(self.problems) > 1 else "a node"
            told = "; ".join(map(str, self.problems))
            raise UnsupportedModelError(
                f"{file}: {count} cannot be compiled: {told}", [asdict(p) for p in self.problems]
            )
        outputs: dict[str, Value] = {}
        for output, result in zip(graph.output, results, strict=True):
            assert result is not None
            outputs |= flat(output.name, result)
        if not outputs:
            raise UnsupportedModelError(f"{file}: the outputs are empty sequences or optionals: nothing to compute")
        return self.state.finish(list(outputs.values()), tuple(types), tuple(outputs))

    def _add_initializers(self, graph: GraphProto, scope: Scope) -> None:
        for initializer in graph.initializer:
            if initializer.name in scope.constants:
                raise ModelError(f"{self.model.name}: initializer {initializer.name!r} is there twice")
            scope.constants[initializer.name] = initializer
        if graph.sparse_initializer:
            name = graph.sparse_initializer[0].values.name
            raise UnsupportedModelError(f"{self.model.name}: initializer {name!r}: sparse, expected a dense tensor")

    def _check_outputs(self, graph: GraphProto) -> None:
        names = [o.name for o in graph.output]
        if not names:
            raise ModelError(f"{self.model.name}: the graph has no outputs")
        twice = [n for i, n in enumerate(names) if n in names[:i]]
        if twice:
            raise ModelError(f"{self.model.name}: output {twice[0]!r} is declared twice")

    def _result(self, name: str, scope: Scope) -> Held | None:
        if not scope.holds(name):
            raise ModelError(f"{self.model.name}: output {name!r}: no node makes it{nearest(name, scope.names)}")
        return self._value(name, scope)

    def _value(self, name: str, scope: Scope) -> Held | None:
        """What a name stands for; a constant is made when it is first asked for."""
        for place in scope.scopes():
            if name in place.values:
                return place.values[name]
            if name in place.constants:
                array = self._array(place.constants[name], f"{self.model.name}: initializer {name!r}")
                place.values[name] = value = self.state.add_constant(array)
                value.hint = name
                return value
        raise AssertionError(name)

    def _array(self, proto: TensorProto, place: str) -> Any:
        return array_of(proto, place, self.model.folder)

    # ---- nodes ------------------------------------------------------------------------------------------------

    def _nodes(self, nodes: Sequence[NodeProto], scope: Scope) -> None:
        self.nodes_left -= len(nodes) or 1  # an empty body takes a turn too
        if self._too_long:
            raise UnsupportedModelError(
                f"{self.model.name}: functions and loops add more than {MOST_WRITTEN_OUT} nodes when written out"
            )
        names = [n.name or f"{n.op_type}_{i}" for i, n in enumerate(nodes)]
        for number in ordered(self.model.name, nodes, names, scope):
            self._node(nodes[number], scope.caller or names[number], scope)

    @property
    def _too_long(self) -> bool:
        return self.nodes_left < 0 or self.state.added > self.most_operations

    def _node(self, node: NodeProto, name: str, scope: Scope) -> None:
        self.state.at(name)
        inputs = [self._value(i, scope) if i else None for i in node.input]
        found: Sequence[Held | None]
        try:
            if any(i and v is None for i, v in zip(node.input, inputs, strict=True)):
                self._must_be_known(node, scope)
                found = [None] * len(node.output)
            else:
                found = self._imported(node, name, inputs, scope)
        except (NodeUnsupported, ElementTypeError, UnsupportedModelError) as error:
            if self._too_long:
                raise
            if scope.depth:
                raise NodeUnsupported(f"its function body needs {_shown(node.op_type)}: {error}") from None
            kinds = [_kind(v) for v in inputs]
            self.problems.append(_described(node, name, kinds, scope, _without_place(str(error))))
            found = [None] * len(node.output)
        except (VerifyError, DimError) as error:
            raise ModelError(f"{self.model.name}: node {name!r}: {_without_place(str(error))}") from None
        for output, value in zip(node.output, found, strict=False):
            if output:
                if isinstance(value, Value):
                    self._check_rank(tensor(value), name)
                scope.values[output] = value
                if isinstance(value, Value) and value.hint is None:
                    value.hint = output

    def _check_rank(self, kind: TensorType, name: str) -> None:
        if kind.rank > MOST_DIMS:
            raise ModelError(f"{self.model.name}: node {name!r}: {kind.rank} dims, at most {MOST_DIMS} are possible")

    def _imported(
        self, node: NodeProto, name: str, inputs: Sequence[Held | None], scope: Scope
    ) -> Sequence[Held | None]:
        domain = canonical_domain(node.domain)
        attributes = self._attributes(node, name, scope)
        local = self.functions.get((domain, node.op_type))
        if local is not None:
            return self._call(local, node, name, inputs, attributes, scope)
        schema = onnx_schema.schema_of(node.op_type, domain, self._opset(node, name, scope))
        kinds = [_kind(v) for v in inputs]
        if schema is not None:
            wrong = onnx_schema.mistake(schema, node, kinds)
            if wrong is not None:
                raise ModelError(f"{self.model.name}: node {name!r}: {wrong}")
        opset = self._opset(node, name, scope)
        if (node.op_type, domain) in HOLDING_GRAPHS:
            plain = {k: self._plain(a, name) for k, a in attributes.items() if not a.HasField("g")}
            return HoldingNode(node, name, opset, plain, scope, self.model.name, self.state, self.graph).outputs(inputs)
        reason: Exception = NodeUnsupported(self._unknown(node.op_type, domain, opset))
        importer = self._importer(node.op_type, domain, opset)
        structured = importer is None or any(is_structure(v) for v in inputs)
        rule = RULES.get(node.op_type) if domain == "" and structured else None
        if rule is not None or importer is not None:
            plain = {k: self._plain(a, name) for k, a in attributes.items() if k != "type"}
            tensors = [v if isinstance(v, Value) else None for v in inputs]
            ranks = {} if scope.depth else self.declared_ranks
            view = Node(self.state, name, node.op_type, opset, tensors, node.output, plain, ranks)
            if rule is not None:
                return [rule(view, inputs)]
            if any(is_structure(v) for v in inputs):
                raise NodeUnsupported("an input is a sequence or an optional, expected tensors")
            assert importer is not None
            try:
                return _enough(importer.run(view), view.output_count)
            except (NodeUnsupported, ElementTypeError) as error:
                reason = error  # but its function body may do
        body = None if schema is None else onnx_schema.function_body(schema, _resolved(node, attributes), kinds)
        if body is None:
            raise reason
        return self._call(body, node, name, inputs, attributes, scope)

    def _opset(self, node: NodeProto, name: str, scope: Scope) -> int:
        domain = canonical_domain(node.domain)
        if domain not in scope.opsets:
            raise ModelError(f"{self.model.name}: node {name!r}: the model imports no opset of domain {domain!r}")
        return scope.opsets[domain]

    def _importer(self, op_type: str, domain: str, opset: int) -> Importer | None:
        fitting = [i for i in self.importers.get((op_type, domain), ()) if i.since <= opset]
        return fitting[-1] if fitting else None

    def _must_be_known(self, node: NodeProto, scope: Scope) -> None:
        """Raises NodeUnsupported for a node, some of whose inputs are unknown, that could not be imported anyway."""
        domain = canonical_domain(node.domain)
        opset = scope.opsets.get(domain, 1)
        if (domain, node.op_type) in self.functions or (node.op_type, domain) in HOLDING_GRAPHS:
            return
        schema = onnx_schema.schema_of(node.op_type, domain, opset)
        known = (schema is not None and onnx_schema.has_function(schema)) or (node.op_type in RULES and not domain)
        if not known and self._importer(node.op_type, domain, opset) is None:
            raise NodeUnsupported(self._unknown(node.op_type, domain, opset))

    def _unknown(self, op_type: str, domain: str, opset: int) -> str:
        versions = [i.since for i in self.importers.get((op_type, domain), ())]
        if versions:
            return f"known from opset {versions[0]} on"
        if onnx_schema.schema_of(op_type, domain, opset) is None:
            return f"no such operator{onnx_schema.similar(op_type, domain)}"
        return "nothing here computes it"

    # ---- attributes, functions, branches ------------------------------------------------------------------------

    def _attributes(self, node: NodeProto, name: str, scope: Scope) -> dict[str, AttributeProto]:
        """The attributes by name; those that refer to the function's own are looked up there."""
        found = {}
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                found[attribute.name] = attribute
            elif attribute.ref_attr_name in scope.attributes:
                copy = AttributeProto()
                copy.CopyFrom(scope.attributes[attribute.ref_attr_name])
                copy.name = attribute.name
                found[attribute.name] = copy
        return found

    def _plain(self, attribute: AttributeProto, name: str) -> Any:
        place = f"{self.model.name}: node {name!r}"
        try:
            found = plain_attribute(attribute)
        except UnicodeDecodeError:
            raise ModelError(f"{place}: attribute {attribute.name!r} is no text in UTF-8") from None
        except ValueError as error:
            raise NodeUnsupported(str(error)) from None
        if isinstance(found, TensorProto):
            return self._array(found, f"{place}: attribute {attribute.name!r}")
        return found

    def _call(
        self,
        function: FunctionProto,
        node: NodeProto,
        name: str,
        inputs: Sequence[Held | None],
        attributes: Mapping[str, AttributeProto],
        scope: Scope,
    ) -> Sequence[Held | None]:
        """The outputs of a function's body on the inputs."""
        if scope.depth >= DEEPEST_CALL:
            raise ModelError(f"{self.model.name}: node {name!r}: function {function.name!r} calls itself")
        if len(inputs) > len(function.input) or len(node.output) > len(function.output):
            raise ModelError(
                f"{self.model.name}: node {name!r}: {len(inputs)} inputs and {len(node.output)} outputs, but function "
                f"{function.name!r} has {len(function.input)} and {len(function.output)}"
            )
        defaults = {a.name: a for a in function.attribute_proto}
        inner = Scope(
            dict(scope.opsets) | opset_versions(function.opset_import),
            attributes=defaults | _schema_defaults(function, scope) | dict(attributes),
            caller=name,
            depth=scope.depth + 1,
        )
        given = [*inputs, *[None] * (len(function.input) - len(inputs))]
        newest = onnx_opset_version()
        if inner.opsets.get("", newest) > newest:
            opset = inner.opsets[""]
            raise NodeUnsupported(f"function {function.name!r} is of opset {opset}, expected at most {newest}")
        left_out = {f for f, v in zip(function.input, given, strict=True) if v is None}
        inner.values.update((f, v) for f, v in zip(function.input, given, strict=True) if v is not None)
        nodes = [_without_inputs(n, left_out) for n in function.node]
        self._nodes(nodes, inner)
        found: list[Held | None] = []
        for formal, output in zip(function.output, node.output, strict=False):
            if output and not inner.holds(formal):
                raise ModelError(f"{self.model.name}: node {name!r}: function {function.name!r} makes no {formal!r}")
            found.append(self._value(formal, inner) if output else None)
        return found

    # ---- graphs within nodes ------------------------------------------------------------------------------------

    def graph(self, graph: GraphProto, scope: Scope) -> Sequence[Held | None]:
        """The outputs of a graph whose inputs the scope holds."""
        self._add_initializers(graph, scope)
        self._nodes(graph.node, scope)
        return [self._result(o.name, scope) for o in graph.output]


def _kind(held: Held | None) -> TensorType | None:
    return tensor(held) if isinstance(held, Value) else None


def _enough(values: Sequence[Value], wanted: int) -> Sequence[Value]:
    """The values, if there are as many as outputs that are used."""
    if len(values) < wanted:
        raise NodeUnsupported(f"output {len(values)} is used, expected at most {len(values)} outputs")
    return values


def _resolved(node: NodeProto, attributes: Mapping[str, AttributeProto]) -> NodeProto:
    """The node with its attributes' values in place of references to those of the function around it: ONNX writes some
    bodies by these values."""
    if not any(a.ref_attr_name for a in node.attribute):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.extend(attributes.values())
    return copy


def _without_inputs(node: NodeProto, names: set[str]) -> NodeProto:
    """The node with inputs of those names left out."""
    if not names.intersection(node.input):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend("" if i in names else i for i in node.input)
    return copy


def _schema_defaults(function: FunctionProto, scope: Scope) -> dict[str, AttributeProto]:
    """The defaults of the operator that a function is the body of, if it is one."""
    domain = canonical_domain(function.domain)
    schema = onnx_schema.schema_of(function.name, domain, scope.opsets.get(domain, 1))
    if schema is None:
        return {}
    defaults = {name: a.default_value for name, a in schema.attributes.items() if not a.required}
    return {name: a for name, a in defaults.items() if a.name}


def _described(
    node: NodeProto, name: str, kinds: Sequence[TensorType | None], scope: Scope, reason: str
) -> UnsupportedNode:
    domain = canonical_domain(node.domain)
    shown = tuple(str(k) for k, i in zip(kinds, node.input, strict=True) if k is not None and i)
    return UnsupportedNode(name, node.op_type, domain, scope.opsets.get(domain), shown, reason)


def _shown(name: str) -> str:
    """A name as it stands, or quoted where it would break the line."""
    return name if name.isprintable() else repr(name)


def _without_place(message: str) -> str:
    """The message of an operation about itself, without the operation's name."""
    place, _, rest = message.partition(": ")
    return rest if place.startswith("graph.") and rest else message
