"""What grows while a model is imported: the function's operations, its constants, what is known of integers.

In: operations, one after the other.  Out: a module with `graph.func @main` and the functions that it calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.compiler.frontends.onnx.inputs import Symbols
from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Location, Operation, Region, Value, producer
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import DataError, DimError
from headrace.ir.graph.families import GraphOp, tensor
from headrace.ir.graph.numbers import with_numbers
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.shape_values import MOST_ELEMENTS, may_be_shape
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder

Array = np.ndarray[Any, Any]


class State:
    """The function under construction and what is known about it."""

    def __init__(self, file: str, digest: str, symbols: Symbols) -> None:
        self.file = file
        self.module = Module(Region(), source=digest)
        self.block = Block()
        self.builder = Builder(self.block)
        self.facts = Facts()
        self.added = 0  # operations
        self._fact_lines: list[str] = []
        self._functions: list[GraphFunc] = []  # those that others call
        self._symbols = symbols
        self._integers: dict[Value, tuple[Dim, ...]] = {}
        self._small: dict[Value, Array] = {}  # constants, and what is computed from them

    def at(self, node: str) -> None:
        """What is added from now on computes that node."""
        self.builder.location = Location((node,))

    def add(self, operation: Operation) -> Value:
        """Appends an operation, and follows its integers if it makes some."""
        self.added += 1
        value = self.builder.add(operation).result
        if not isinstance(operation, GraphOp):
            return value
        evaluated = self._evaluated(operation)
        if evaluated is not None:
            self._small[value] = evaluated
        if may_be_shape(value):
            found = operation.shape_values([self._integers.get(o) for o in operation.operands])
            if found is not None and found[0] is not None:
                self._integers[value] = tuple(self.facts.simplify(d) for d in found[0])
        return value

    def add_all(self, operation: Operation) -> Sequence[Value]:
        """Appends an operation with any number of results."""
        self.added += 1
        return self.builder.add(operation).results

    def add_constant(self, array: Array) -> Value:
        """Appends a constant."""
        value = self.builder.add(Constant(self.module.constants.add(array))).result
        if array.size <= MOST_ELEMENTS:
            self._small[value] = array
        if may_be_shape(value):
            self._integers[value] = tuple(Dim.constant(int(n)) for n in array.reshape(-1))
        return value

    def integers(self, value: Value) -> tuple[Dim, ...] | None:
        """The elements of a small integer tensor as formulas, where they are known."""
        return self._integers.get(value)

    def constant(self, value: Value) -> Array | None:
        """The array behind a value that is a constant, or small and computed from small constants alone."""
        constant = producer(value, Constant)
        return self._small.get(value) if constant is None else self.module.constants.array(constant.value)

    def _evaluated(self, operation: GraphOp) -> Array | None:
        kind = tensor(operation.result)
        if not operation.folds or not operation.operands or not all(o in self._small for o in operation.operands):
            return None
        if not kind.is_static or kind.elements.value > MOST_ELEMENTS:
            return None
        try:
            fixed = with_numbers(operation, {})
        except DimError:  # an attribute mentions a symbol
            return None
        with np.errstate(all="ignore"):
            try:
                return np.asarray(fixed.reference(*(self._small[o] for o in operation.operands)))
            except DataError:  # to be told when the model runs, should it ever come by
                return None

    def symbol(self, wish: str, highest: int | None = None) -> str:
        """A new symbol for an integer that is data: 0, `highest`, or in between.  A line of facts declares it, since no
        input's type mentions it."""
        name = self._symbols.fresh(wish)
        self._fact_lines.append(f"{name} in [0, {'inf' if highest is None else highest}]")
        return name

    def mark(self) -> tuple[int, int]:
        """How far the import has come, for `back_to` and `symbols_since`."""
        return len(self._functions), len(self._fact_lines)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forgets functions and symbols of what is not to be kept."""
        del self._functions[mark[0] :]
        del self._fact_lines[mark[1] :]

    def symbols_since(self, mark: tuple[int, int]) -> list[str]:
        return [line.partition(" ")[0] for line in self._fact_lines[mark[1] :]]

    def add_function(self, wish: str, block: Block, results: Sequence[Value]) -> SymbolRef:
        """A private function that returns `results`; what is known of the symbols around it is known inside."""
        with self.builder.at(block):
            self.builder.add(Return(tuple(results)))
        outside = sorted(_symbols_of(self.block.arguments) - _symbols_of(block.arguments))
        facts = (*(f"{s} in [0, inf]" for s in outside), *self._fact_lines)
        names = tuple(f"result_{i}" for i in range(len(results)))
        function = GraphFunc(SymbolRef(wish), Region(block), facts, (), names, private=True)
        self._functions.append(function)
        return function.symbol

    def finish(self, results: list[Value], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Module:
        """The module, with the function that returns `results`."""
        self.builder.location = Location()
        self.builder.add(Return(tuple(results)))
        region = Region(self.block)
        function = GraphFunc(SymbolRef("main"), region, tuple(self._fact_lines), inputs, outputs)
        place = Builder(self.module.block)
        for added in (function, *self._functions):
            place.add(added)
        return self.module


def _symbols_of(values: Sequence[Value]) -> set[str]:
    return {s for v in values for d in tensor(v).dims for s in d.symbols}
