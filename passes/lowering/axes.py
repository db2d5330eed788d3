"""Finding and changing the axes of structured operations: what tile, reorder and bind share.

In: a module, names of a function and of axes.  Out: the operation that has these axes, or its replacement with
other axes and formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.ir.access import AccessMap, Axis
from headrace.ir.core import Operation, Value, walk
from headrace.ir.dims import Dim, DimLike
from headrace.ir.errors import PassError, nearest
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Structured
from headrace.ir.module import Module
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import element_dtype


def kernel_named(module: Module, name: str) -> KernelFunc:
    """The kernel `@name`.  Raises PassError with the nearest name."""
    found = {f.function_name: f for f in module.functions(KernelFunc)}
    if name not in found:
        raise PassError(f"no kernel @{name} in the module{nearest(name, found)}")
    return found[name]


def with_axis(function: KernelFunc, axis: str) -> Structured:
    """The structured operation of the function that has the axis.  Raises PassError with the nearest name."""
    names = []
    for op in walk(function, Structured):
        names += [a.name for a in op.axes]
        if axis in names:
            return op
    raise PassError(f"@{function.function_name} has no axis {axis!r}{nearest(axis, names)}")


def set_axes(op: Structured, rewriter: Rewriter, axes: Sequence[Axis]) -> None:
    """Other order or kinds."""
    if tuple(axes) != op.axes:
        rewriter.set_attribute(op, "axes", tuple(axes))


def rewrite_formulas(op: Operation, rewriter: Rewriter, values: Mapping[str, DimLike]) -> None:
    """Substitutes axis names in every formula of the operation and its regions; axes stay as they are."""
    for inner in op.walk():
        for name, attribute in list(inner.attributes.items()):
            new = attribute if name == "axes" else _substituted(attribute, values)
            if new != attribute:
                _set(inner, rewriter, name, new)


def substitute_all(attributes: Mapping[str, Any], values: Mapping[str, DimLike]) -> dict[str, Any]:
    """The attributes of a detached operation with symbols substituted in all formulas."""
    return {name: _substituted(attribute, values) for name, attribute in attributes.items()}


def zero_of(buffer: Value) -> float | int | bool:
    """What a read outside of a buffer gives where the value does not matter."""
    dtype = element_dtype(buffer.type)
    return 0.0 if dtype.is_float else False if dtype.kind == "bool" else 0


def _set(op: Operation, rewriter: Rewriter, name: str, value: object) -> None:
    rewriter.set_attribute(op, name, value)


def _substituted(attribute: object, values: Mapping[str, DimLike]) -> object:
    match attribute:
        case Dim() | AccessMap():
            return attribute.substitute(values)
        case tuple():
            return tuple(_substituted(part, values) for part in attribute)
    return attribute
