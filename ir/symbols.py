"""Which symbols a formula may mention where it stands.  In: a function.  Out: nothing, or a VerifyError.

In a kernel: the function's scalars, and the axes of the operations around it and of its own (an extent: only of
those around it).  In functions of the other dialects: the symbols in the parameters' types and in the facts,
and those that a `program.read` or `program.loop` above has bound.  Axes are named once within a function, and not like
a scalar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.ir.access import AccessMap, Axis
from headrace.ir.core import Block, Operation
from headrace.ir.dims import Dim
from headrace.ir.errors import nearest
from headrace.ir.module import Function
from headrace.ir.program.ops.program import Loop, Read
from headrace.ir.types import BufferType, TensorType


def formulas(value: Any) -> Iterator[Dim]:
    """All formulas in an attribute or a type, the extents of axes left out."""
    match value:
        case Dim():
            yield value
        case AccessMap():
            yield from value.indices
        case TensorType():
            yield from value.dims
        case BufferType():
            yield from value.dims
            yield from value.strides or ()
        case tuple():
            for part in value:
                yield from formulas(part)


def axes_of(operation: Operation) -> list[Axis]:
    """The axes that an operation declares."""
    found: list[Axis] = []
    for value in operation.attributes.values():
        found.extend(v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Axis))
    return found


def check_symbols(function: Function) -> None:
    """Checks all formulas of a function.  Raises VerifyError."""
    if "scalars" in function.attributes:
        known = set(function.attributes["scalars"])
        where = "an axis around it or a scalar of the kernel"
    else:
        known = {s for p in function.parameters for d in formulas(p.type) for s in d.symbols}
        known |= set(function.known.symbols)
        where = "a symbol of a parameter's type, of the facts or of a program.read above"
    _Checker(where, set(known)).block(function, function.block, known)


class _Checker:
    def __init__(self, where: str, names: set[str]) -> None:
        self.where = where
        self.names = names  # all that have been declared so far, out of scope or not

    def block(self, owner: Operation, block: Block, known: set[str]) -> None:
        for argument in block.arguments:
            self.check(owner, argument.type, known)
        for operation in block.operations:
            if isinstance(operation, Loop):
                self.check(operation, operation.starts, known)
                self.check(operation, operation.limit, known)
                known = known | set(operation.symbols)
            self.operation(operation, known)
            if isinstance(operation, Read):
                known = known | {operation.symbol}

    def operation(self, operation: Operation, known: set[str]) -> None:
        axes = axes_of(operation)
        for axis in axes:
            self.check(operation, axis.extent, known)
            if axis.name in self.names:
                raise operation.fail(f"axis {axis.name} is named like another axis or scalar of the function")
            self.names.add(axis.name)
        inside = known | {a.name for a in axes}
        for value in operation.attributes.values():
            self.check(operation, value, inside)
        for result in operation.results:
            self.check(operation, result.type, inside)
        for region in operation.regions:
            self.block(operation, region.block, inside)

    def check(self, operation: Operation, value: Any, known: set[str]) -> None:
        for formula in formulas(value):
            unknown = [s for s in sorted(formula.symbols) if s not in known]
            if unknown:
                hint = nearest(unknown[0], sorted(known))
                raise operation.fail(f"{formula} mentions {unknown[0]}, expected {self.where}{hint}")
