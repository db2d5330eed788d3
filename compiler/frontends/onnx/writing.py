"""Writes a module as an ONNX model.  In: a module with one `graph.func` and the branches of its `graph.if`s.  Out: the
bytes of a model, opset 20.

Each operation says itself which nodes it is (`GraphOp.to_onnx`).  A branch becomes a graph within the If node, which
sees the names around it.  A formula becomes nodes too: Shape of the value that has the symbol as a dim, and integer
arithmetic from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from headrace.compiler.frontends.onnx.schema import mistake, schema_of
from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Value
from headrace.ir.dims import Dim
from headrace.ir.dims.expr import Atom
from headrace.ir.graph.exporting import OPSET, NotInOnnx
from headrace.ir.graph.families import DataDims, GraphOp, tensor
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.control import If
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.types import DType, TensorType, dtype_of

Array = np.ndarray[Any, Any]

IR_VERSION = 9
_ARITHMETIC = {"floordiv": "Div", "mod": "Mod", "min": "Min", "max": "Max"}


def export_model(module: Module) -> bytes:
    """The model that the module's only graph function is, but for branches.  Raises NotInOnnx."""
    functions = [f for f in module.functions(GraphFunc) if not f.private]
    if len(functions) != 1:
        raise NotInOnnx(f"the module has {len(functions)} functions on tensors, expected one")
    return bytes(_Writing(functions[0], module).model().SerializeToString())


class _Writing:
    """One model under construction: nodes, initializers, and the names of values."""

    def __init__(self, function: GraphFunc, module: Module) -> None:
        self.function = function
        self.module = module
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.names: dict[Value, str] = {}
        self.types: dict[str, TensorType] = {}  # of values and constants, by name
        self.symbols: dict[str, str] = {}  # names of scalars of int64
        self.made = 0

    def model(self) -> ModelProto:
        function = self.function
        for parameter, name in zip(function.parameters, function.input_names, strict=True):
            self._name(parameter, name)
        self._operations(function.block)
        outputs = []
        for name, value in zip(function.output_names, function.block.terminator.operands, strict=True):
            self._add("Identity", [self.names[value]], [name], {})
            outputs.append(_info(name, value))
        inputs = [_info(n, p) for n, p in zip(function.input_names, function.parameters, strict=True)]
        graph = helper.make_graph(self.nodes, function.function_name, inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _operations(self, block: Block) -> None:
        for operation in block.body:
            if isinstance(operation, Constant):
                self.names[operation.result] = self.constant(self.module.constants.array(operation.value))
            elif isinstance(operation, If):
                self._branches(operation)
            elif isinstance(operation, GraphOp):
                self._operation(operation)
            else:
                raise NotInOnnx(f"{operation.name} has no form in ONNX")

    def _branches(self, operation: If) -> None:
        graphs = [self._branch(operation, symbol) for symbol in operation.functions]
        names = [self._fresh("if") for _ in operation.results]
        branches = dict(zip(("then_branch", "else_branch"), graphs, strict=True))
        self._add("If", [self.names[operation.condition]], names, branches)
        for result, name in zip(operation.results, names, strict=True):
            self._name(result, name)
        (number,) = self.node("Cast", operation.condition, to=TensorProto.INT64)
        (self.symbols[operation.symbol],) = self.node("Reshape", number, self.constant(np.zeros(0, np.int64)))

    def _branch(self, operation: If, symbol: SymbolRef) -> GraphProto:
        """Names and constants are around it; what its nodes compute of symbols is known inside only."""
        function = self.module.function(symbol.name)
        assert isinstance(function, GraphFunc), "the verifier has seen it"
        around, symbols, self.nodes = self.nodes, dict(self.symbols), []
        for parameter, value in zip(function.parameters, operation.captures, strict=True):
            self._name(parameter, self.names[value])
        self._operations(function.block)
        outputs = []
        for value in function.block.terminator.operands:
            outputs.append(_info(self._fresh("result"), value))
            self._add("Identity", [self.names[value]], [outputs[-1].name], {})
        graph = helper.make_graph(self.nodes, function.function_name, [], outputs)
        self.nodes, self.symbols = around, symbols
        return graph

    def _operation(self, operation: GraphOp) -> None:
        if isinstance(operation, DataDims):
            for read in operation.dim_reads():
                at = self.constant(np.array(read.element))
                (flat,) = self.node("Reshape", read.operand, self.constant(np.array([-1])))
                (self.symbols[read.symbol],) = self.node("Gather", flat, at, axis=0)
        for result, name in zip(operation.results, operation.to_onnx(self), strict=True):
            self._name(result, name)
        if isinstance(operation, DataDims):
            # From here on a dim of the result says it as well, and whoever reads the model sees that it is one.
            for read in operation.dim_reads():
                self.symbols |= self._as_dim(read.symbol, operation.results)

    def _name(self, value: Value, name: str) -> None:
        self.names[value] = name
        self.types[name] = tensor(value)

    # ---- what an operation may ask for -----------------------------------------------------------------------

    def node(self, op_type: str, *inputs: Value | str | None, outputs: int = 1, **attributes: Any) -> Sequence[str]:
        """Adds a node; the names of its outputs."""
        listed = [self.names[i] if isinstance(i, Value) else i or "" for i in inputs]
        while listed and not listed[-1]:
            listed.pop()
        names = [self._fresh(op_type.lower()) for _ in range(outputs)]
        if op_type in ("Transpose", "Reshape") and listed[0] in self.types:
            self.types[names[0]] = self.types[listed[0]]  # as far as the element type goes, which is what is checked
        # An empty list has no element type, and no node of ONNX tells it from none.
        kept = {k: _attribute(v) for k, v in attributes.items() if v is not None and v != ()}
        self._add(op_type, listed, names, kept)
        return names

    def _add(self, op_type: str, listed: list[str], names: list[str], attributes: dict[str, Any]) -> None:
        """Raises NotInOnnx where the operator does not take such operands."""
        node = helper.make_node(op_type, listed, names, f"n_{names[0]}", **attributes)
        schema = schema_of(op_type, "", OPSET)
        wrong = None if schema is None else mistake(schema, node, [self.types.get(i) for i in listed])
        if schema is None or wrong is not None:
            raise NotInOnnx(f"{op_type} of opset {OPSET}: {wrong or 'no such operator'}")
        self.nodes.append(node)

    def constant(self, array: Array) -> str:
        """Adds an initializer."""
        proto = TensorProto(name=self._fresh("constant"), dims=array.shape, raw_data=array.tobytes())
        proto.data_type = _element_type(dtype_of(array))
        self.initializers.append(proto)
        self.types[proto.name] = TensorType.of(dtype_of(array), *array.shape)
        return proto.name

    def integers(self, formulas: Sequence[Dim]) -> str:
        """A vector of int64 with the values of the formulas."""
        if all(f.is_constant for f in formulas):
            return self.constant(np.array([f.value for f in formulas], np.int64))
        one = self.constant(np.array([1]))
        return self.node("Concat", *(self.node("Reshape", self._formula(f), one)[0] for f in formulas), axis=0)[0]

    # ---- formulas --------------------------------------------------------------------------------------------

    def _formula(self, formula: Dim) -> str:
        total: str | None = None
        for monomial, factor in formula.terms:
            atoms = [self._atom(atom) for atom, power in monomial for _ in range(power)]
            part = self.constant(np.array(factor))
            for atom in atoms:
                (part,) = self.node("Mul", part, atom)
            total = part if total is None else self.node("Add", total, part)[0]
        return self.constant(np.array(0)) if total is None else total

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, str):
            if atom not in self.symbols:
                self.symbols[atom] = self._symbol(atom)
            return self.symbols[atom]
        return self.node(_ARITHMETIC[atom.kind], *(self._formula(a) for a in atom.arguments))[0]

    def _symbol(self, symbol: str) -> str:
        found = self._as_dim(symbol, self.function.parameters)
        if not found:
            raise NotInOnnx(f"symbol {symbol!r} is no dim of an input")
        return found[symbol]

    def _as_dim(self, symbol: str, values: Sequence[Value]) -> dict[str, str]:
        """The symbol as what a node reads from the shape of a value, the first that has it; nothing where none has."""
        for value in values:
            for axis, dim in enumerate(tensor(value).dims):
                if dim == Dim.symbol(symbol):
                    (shape,) = self.node("Shape", value)
                    return {symbol: self.node("Gather", shape, self.constant(np.array(axis)), axis=0)[0]}
        return {}

    def _fresh(self, wish: str) -> str:
        taken = {*self.function.input_names, *self.function.output_names}
        while True:
            self.made += 1
            if (name := f"{wish}_{self.made}") not in taken:
                return name


def _attribute(value: Any) -> Any:
    if isinstance(value, DType):
        return _element_type(value)
    return int(value) if isinstance(value, bool) else value


def _element_type(dtype: DType) -> int:
    return int(helper.np_dtype_to_tensor_dtype(dtype.numpy))


def _info(name: str, value: Value) -> ValueInfoProto:
    kind = tensor(value)
    shape = [d.value if d.is_constant else str(d).replace(" ", "") for d in kind.dims]
    return helper.make_tensor_value_info(name, _element_type(kind.dtype), shape)
