"""graph.propagate-shapes: turn integers that follow from the dims into what is known while compiling.

Before:
    %s = graph.formulas {values = [n, 3, 64], dims = [3], dtype = i64} : i64[3]
    %1 = graph.slice %s {starts = [0], sizes = [1], steps = [1]} : i64[1]
    %2 = graph.concat %1, %rest {axis = 0} : i64[2]                           (%rest: the constant [192])
    %3 = graph.reshape_dynamic %x, %2 {symbols = ["d0", "d1"]} : f32[d0, d1]
    %4 = graph.slice %s {starts = [1], sizes = [2], steps = [1]} : i64[2]
After:
    %2 = graph.formulas {values = [n, 192], dims = [2], dtype = i64} : i64[2]
    %3 = graph.reshape %x {dims = [n, 192]} : f32[n, 192]
    %4 = graph.constant {value = #..} : i64[2]                                 ([3, 64])

Functions that are called take part: what is known of the captured values is known inside.

Needs: no operation with regions (before `graph.cluster`).  Leaves: integer tensors whose elements are numbers as
constants, those whose elements are formulas as graph.formulas; no dims read from data that are known; formulas
in attributes as simple as the facts make them, and types inferred again from these.  Refuses: tensors larger than
any shape, elements that are data, and types of parameters, which the caller binds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.dims import Dim, Facts
from headrace.ir.graph.families import DataDims, GraphOp, Pull, tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.control import If, selected
from headrace.ir.graph.ops.expand import Expand, ExpandDynamic
from headrace.ir.graph.ops.formulas import Formulas, Range
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.loop import Loop, loop_types
from headrace.ir.graph.ops.range_dynamic import RangeDynamic
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.reshape_dynamic import ReshapeDynamic
from headrace.ir.graph.shape_values import flat, may_be_shape
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import DType, TensorType, Type


def _range(numbers: RangeDynamic, dims: tuple[Dim, ...]) -> Range:
    return Range(Dim.constant(0), Dim.constant(1), dims[0], numbers.dtype)


# What an operation whose dims were data is, once they are known.
SETTLED: Mapping[type[DataDims], Callable[[Any, tuple[Dim, ...]], Pull]] = {
    ReshapeDynamic: lambda operation, dims: Reshape(operation.x, dims),
    ExpandDynamic: lambda operation, dims: Expand(operation.x, dims),
    RangeDynamic: _range,
}


@dataclass(frozen=True)
class PropagateShapes(Pass):
    """The pass."""

    summary = "turn integers that follow from the dims into what is known while compiling"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            if not function.private and not any(operation.regions for operation in function.block.operations):
                _Propagation(function, module, rewriter, {}, {}).run()


class _Propagation:
    """One walk over a function, in order: types, then integers, of each operation."""

    def __init__(
        self,
        function: GraphFunc,
        module: Module,
        rewriter: Rewriter,
        known: Mapping[Value, tuple[Dim, ...]],
        settled: dict[str, Dim],
    ) -> None:
        self.function = function
        self.module = module
        self.rewriter = rewriter
        self.facts: Facts = function.known
        self.known = dict(known)
        self.settled = settled  # symbols of dims that were data, of all functions: callers' formulas speak of them too

    def run(self) -> None:
        for operation in self.function.block.body:
            self._simplify(operation)
            if isinstance(operation, Constant):
                self._note_constant(operation)
            elif isinstance(operation, DataDims) and self._settle(operation):
                continue
            elif isinstance(operation, If):
                self._enter(operation)
            elif isinstance(operation, Loop):
                self._enter_loop(operation)
            elif isinstance(operation, GraphOp):
                self._note_values(operation)
        self._forget_settled()

    # ---- formulas ----------------------------------------------------------------------------------------

    def _simplify(self, operation: Operation) -> None:
        """Attributes in their simplest form, and the types that follow."""
        for name, value in list(operation.attributes.items()):
            simpler = self._simpler(value)
            if simpler != value:
                self.rewriter.set_attribute(operation, name, simpler)
        self._infer(operation)

    def _infer(self, operation: Operation) -> None:
        for result, kind in zip(operation.results, operation.infer(), strict=True):
            self._set_type(result, kind)

    def _set_type(self, value: Value, kind: Type) -> None:
        if value.type != kind:
            value.type = kind
            self.rewriter.changed = True

    def _enter(self, operation: If) -> None:
        """The functions that it calls; then its own types follow from theirs."""
        results = []
        for symbol in operation.functions:
            function = self.module.function(symbol.name)
            assert isinstance(function, GraphFunc), "the verifier has seen it"
            results.append(self._inside(function, function.parameters, operation.captures))
        types = [selected(operation.symbol, a, b) for a, b in zip(*results, strict=True)]
        self.rewriter.set_attribute(operation, "types", tuple(self._simpler(t) for t in types))
        self._infer(operation)

    def _enter_loop(self, loop: Loop) -> None:
        """Of carried values nothing is known but the type that they have in every turn."""
        function = self.module.function(loop.body.name)
        assert isinstance(function, GraphFunc), "the verifier has seen it"
        captured, carried = (function.parameters[: len(loop.captures)], function.parameters[len(loop.captures) :])
        for parameter in carried:
            self._set_type(parameter, self._simpler(parameter.type))
        results = self._inside(function, captured, loop.captures)
        self.rewriter.set_attribute(loop, "types", tuple(self._simpler(t) for t in loop.types))
        self.rewriter.set_attribute(loop, "types", loop_types(loop, [tensor(p) for p in carried], results))
        self._infer(loop)

    def _inside(
        self, function: GraphFunc, parameters: Sequence[Value], captures: Sequence[Value]
    ) -> Sequence[TensorType]:
        """The same in a function that is called; the types of its results."""
        known: dict[Value, tuple[Dim, ...]] = {}
        for parameter, given in zip(parameters, captures, strict=True):
            self._set_type(parameter, given.type)
            if given in self.known:
                known[parameter] = self.known[given]
        _Propagation(function, self.module, self.rewriter, known, self.settled).run()
        return [tensor(o) for o in function.block.terminator.operands]

    def _simpler(self, value: Any) -> Any:
        if isinstance(value, Dim):
            return self.facts.simplify(value.substitute(self.settled))
        if isinstance(value, TensorType):
            return value.with_dims(tuple(self._simpler(d) for d in value.dims))
        if isinstance(value, tuple) and any(isinstance(v, Dim | TensorType) for v in value):
            return tuple(self._simpler(v) for v in value)
        return value

    def _settle(self, operation: DataDims) -> bool:
        """Replaces an operation whose dims turn out to be known; whether they are."""
        form = SETTLED.get(type(operation))
        reads = operation.dim_reads()
        if form is None or not all(read.operand in self.known for read in reads):
            return False
        if isinstance(operation, RangeDynamic) and operation.problem and self.known[operation.problem] != (ZERO,):
            return False  # an error when the model runs
        self.settled.update({read.symbol: self.known[read.operand][read.element] for read in reads})
        dims = tuple(self._simpler(d) for d in tensor(operation.result).dims)
        self.rewriter.replace_with(operation, form(operation, dims))
        return True

    def _forget_settled(self) -> None:
        """Nothing is to be known of a symbol that is gone."""
        lines = self.function.facts
        kept = tuple(line for line in lines if not self.settled.keys() & set(Facts.parse([line]).symbols))
        if kept != lines:
            self.rewriter.set_attribute(self.function, "facts", kept)

    # ---- integers ----------------------------------------------------------------------------------------

    def _note_constant(self, constant: Constant) -> None:
        if may_be_shape(constant.result) and tensor(constant.result).dtype.is_integer:
            self.known[constant.result] = flat(self.module.constants.array(constant.value))

    def _note_values(self, operation: GraphOp) -> None:
        """What the results hold, if it is known, and an operation without operands that holds the same."""
        found = operation.shape_values([self.known.get(o) for o in operation.operands])
        if found is None or any(f is None for f in found) or not all(may_be_shape(r) for r in operation.results):
            return
        values = [
            tuple(_wrapped(self._simpler(v), tensor(r).dtype) for v in f)
            for r, f in zip(operation.results, found, strict=True)
            if f is not None
        ]
        self.known.update(zip(operation.results, values, strict=True))
        if isinstance(operation, Formulas) and not _all_numbers(values[0]):
            return  # that is what it would become
        held = [self._held(r, v) for r, v in zip(operation.results, values, strict=True)]
        made = [h for h in held if h is not None]
        if len(made) == len(held):
            new = [self.rewriter.before(operation).add(h).result for h in made]
            self.known.update(zip(new, values, strict=True))
            self.rewriter.replace(operation, new)

    def _held(self, result: Value, elements: tuple[Dim, ...]) -> Constant | Formulas | None:
        """An operation without operands that holds these elements."""
        kind = tensor(result)
        shape = tuple(d.value for d in kind.dims)
        if not _all_numbers(elements):
            return Formulas(elements, shape, kind.dtype) if kind.dtype.is_integer else None
        array = np.array([e.value for e in elements], object).astype(kind.dtype.numpy).reshape(shape)
        return Constant(self.module.constants.add(array))


def _all_numbers(elements: tuple[Dim, ...]) -> bool:
    return all(e.is_constant for e in elements)


def _wrapped(element: Dim, dtype: DType) -> Dim:
    """A number as the element type holds it; formulas are dims, which no type is too narrow for."""
    if not element.is_constant or not dtype.is_integer:
        return element
    number = element.value % 2**dtype.bits
    return Dim.constant(number - 2**dtype.bits if dtype.kind == "int" and number >= 2 ** (dtype.bits - 1) else number)
