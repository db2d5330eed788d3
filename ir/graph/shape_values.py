"""Integers known while compiling, as arrays of formulas.  In: formulas per operand.  Out: formulas per result.

An operation on a small integer tensor whose elements are formulas (`[n, 3, h floordiv 2]`) computes on an
array of these what it would compute on the integers.  Nothing is known where an operand is not, where a dim
is no number, or where the tensor is larger than any shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim, as_dim
from headrace.ir.graph.families import Array, GraphOp, Known, tensor

MOST_ELEMENTS = 1024  # no tensor above this size is followed: it is data, not a shape


def may_be_shape(value: Value) -> bool:
    """Whether a value is an integer tensor, small and of static dims, whose elements are worth following."""
    kind = tensor(value)
    if kind.dtype.is_float or not kind.is_static:
        return False
    return kind.elements.value <= MOST_ELEMENTS


def as_array(value: Value, known: tuple[Dim, ...]) -> Array:
    """The formulas of a value in its shape, as an array of objects."""
    found = np.empty(len(known), dtype=object)
    found[:] = known
    return found.reshape([d.value for d in tensor(value).dims])


def flat(array: Any) -> tuple[Dim, ...]:
    """The formulas of an array, row-major."""
    return tuple(as_dim(x) for x in np.asarray(array, dtype=object).reshape(-1))


def by_function(operation: GraphOp, known: Known, function: Callable[..., Any]) -> Known | None:
    """The only result's formulas: `function` of the operands' arrays of formulas."""
    if not may_be_shape(operation.result):
        return None
    arrays = []
    for operand, values in zip(operation.operands, known, strict=True):
        if values is None or not tensor(operand).is_static:
            return None
        arrays.append(as_array(operand, values))
    found = function(*arrays)
    return None if found is None else [flat(found)]


def elementwise(operation: GraphOp, known: Known, function: Callable[..., Dim | None]) -> Known | None:
    """The only result's formulas: `function` of the operands' formulas, element by element, broadcast."""

    def apply(*arrays: Array) -> Array | None:
        columns = [a.reshape(-1) for a in np.broadcast_arrays(*arrays)]
        values = [function(*column) for column in zip(*columns, strict=True)]
        if any(v is None for v in values):
            return None
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found

    return by_function(operation, known, apply)
