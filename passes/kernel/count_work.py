"""kernel.count-work: note how much each kernel computes and how many bytes it must touch, as formulas.

Before:
    kernel.func @dense(%x: buffer<f32[m, 64]>, %w: buffer<f32[64, 10]>, %y: buffer<f32[m, 10]>)
        {outputs = 1, scalars = ["m"]} {
      kernel.reduce (i: parallel m, j: parallel 10, k: reduction 64) reads(%x[i, k], %w[k, j]) writes(%y[i, j]) ...
    }
After:
    kernel.func @dense(...) {outputs = 1, scalars = ["m"], work = [1280*m, 296*m + 2560]} { ... }

Needs: structured kernels, before a schedule cuts their axes into tiles: what a schedule computes twice, or for
lanes that do not exist, is no work.  Leaves: all the same, `work` noted.  Kernels of loops are counted by their
trip counts.  Refuses nothing.

An extent that depends on other axes counts as at their first point.

Operations: a multiply-add is two, any other arithmetic on floats one, elementary functions too; index arithmetic and
conversions are none; of a condition both branches count, and all of a padded domain.  Bytes: each byte of a
parameter once, however often it is read; no more than the accesses can reach.  Scratch is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from headrace.ir.access import Access, Axis
from headrace.ir.core import Operation, Region, Value
from headrace.ir.declare import declaration_of
from headrace.ir.dims import Dim, Facts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.memory import Load, Store
from headrace.ir.kernel.ops.scalar import Fma, MulAdd, Pointwise
from headrace.ir.kernel.ops.structured import Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.symbols import axes_of
from headrace.ir.types import BufferType, ScalarType, VectorType, lanes_of

NONE = Dim.constant(0)
ONE = Dim.constant(1)


@dataclass(frozen=True)
class CountWork(Pass):
    """No options."""

    summary = "note how much each kernel computes and touches"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(KernelFunc):
            known = function.known
            scalars = set(function.scalars)
            touched = sum((_touched(p, known, scalars) for p in function.parameters), start=NONE)
            first = dict.fromkeys((a.name for o in function.walk() for a in axes_of(o)), 0)
            work = (_flops(function.block.operations), touched)
            rewriter.set_attribute(function, "work", tuple(known.simplify(w.substitute(first)) for w in work))


def _flops(operations: Iterable[Operation]) -> Dim:
    """Arithmetic operations of one execution."""
    return sum((_flops_of(o) for o in operations), start=NONE)


def _flops_of(operation: Operation) -> Dim:
    if isinstance(operation, Pointwise):
        return Dim.constant(_arithmetic(operation))
    axes = _own_axes(operation)
    if isinstance(operation, Mma):
        return 2 * _points(axes)
    if not isinstance(operation, Reduce):
        return _points(axes) * sum((_flops_in(r) for r in operation.regions), start=NONE)
    steps = _points(axes) * _flops_in(operation.step)
    return steps + _points(a for a in axes if a.kind != "reduction") * _flops_in(operation.finish)


def _flops_in(region: Region) -> Dim:
    return _flops(region.block.operations)


def _arithmetic(operation: Pointwise) -> int:
    kind = operation.result.type
    assert isinstance(kind, ScalarType | VectorType)
    if isinstance(operation, Fma | MulAdd):
        return 2 * lanes_of(kind)
    return lanes_of(kind) if kind.dtype.is_float else 0


def _points(axes: Iterable[Axis]) -> Dim:
    return prod((a.extent for a in axes), start=ONE)


def _touched(parameter: Value, known: Facts, scalars: set[str]) -> Dim:
    """Bytes of a parameter that are read or written: as many as the accesses can reach, or all of it."""
    kind = parameter.type
    assert isinstance(kind, BufferType)
    reached = sum((_reached(user, parameter, scalars) for user in parameter.users), start=NONE)
    whole = kind.elements
    # Where neither is known to be the smaller, all counts: a kernel seldom skips what it is given.
    return (reached if known.less_equal(reached, whole) is True else whole) * kind.dtype.bytes


def _reached(user: Operation, parameter: Value, scalars: set[str]) -> Dim:
    """At most so many elements: all combinations of the axes that the accesses' formulas mention."""
    axes = _axes_around(user)
    names = {a.name for a in axes}
    total = NONE
    for access in _accesses(user, parameter):
        mentioned = {s for index in access.map.indices for s in index.symbols}
        if not mentioned <= names | scalars:  # an element that data decide: each execution may reach another
            mentioned = names
        total = total + _points(a for a in axes if a.name in mentioned) * _lanes(user)
    return total


def _accesses(user: Operation, parameter: Value) -> list[Access]:
    found: list[Access] = []
    for field in declaration_of(user).fields:
        if field.kind == "access":
            found.append(getattr(user, field.name))
        elif field.kind == "accesses":
            found += getattr(user, field.name)
    return [a for a in found if a.value is parameter]


def _axes_around(operation: Operation) -> list[Axis]:
    return [*_own_axes(operation), *(a for above in operation.ancestors() for a in _own_axes(above))]


def _own_axes(operation: Operation) -> tuple[Axis, ...]:
    """Those that are loops: what is `given` by data has one value at a time."""
    return tuple(a for a in operation.attributes.get("axes", ()) if a.kind != "given")


def _lanes(operation: Operation) -> int:
    return operation.lanes if isinstance(operation, Load | Store) else 1
