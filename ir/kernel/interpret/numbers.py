"""Constants, formulas as data, conversions and lane movement under interpretation.

In: the machine and an operation.  Out: a closure that computes its result.  In a wide run floats are float64
whatever their declared type, and a conversion between float types changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce as fold

import numpy as np

from headrace.ir.dims import Dim
from headrace.ir.kernel.interpret.lanes import Array, Lanes, Number
from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.ops.convert import (
    Bitcast,
    Broadcast,
    Cast,
    Constant,
    Holds,
    Index,
    Mask,
    ReduceLanes,
    TakeLanes,
    cast_array,
)
from headrace.ir.kernel.ops.scalar import Fma, Select
from headrace.ir.types import VectorType, element_dtype, lanes_of

FOLDS = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def constant(machine: Machine, operation: Constant) -> Step:
    values, result = machine.values, operation.result
    number = machine.scalar(operation.value, element_dtype(operation.type))
    if isinstance(operation.type, VectorType):
        number = np.repeat(number[..., None], operation.type.lanes, axis=-1)

    def run() -> None:
        values[result] = number

    return run


def evaluate(formula: Dim, lanes: Lanes, vector: bool) -> Array:
    """A formula as an array over lanes, with a dim of 1 for the lanes of a vector if wanted."""
    at: Number = formula.evaluate(lanes.env)
    found = np.full((1,) * lanes.rank, at, np.int64) if isinstance(at, int) else at
    return found[..., None] if vector else found


def index(machine: Machine, operation: Index) -> Step:
    values, lanes, result = machine.values, machine.lanes, operation.result
    formula, kind, count, step = operation.value, operation.dtype.numpy, operation.lanes, operation.step

    def run() -> None:
        found = evaluate(formula, lanes, count > 1)
        values[result] = (found + step * np.arange(count) if count > 1 else found).astype(kind)

    return run


def mask(machine: Machine, operation: Mask) -> Step:
    values, lanes, result = machine.values, machine.lanes, operation.result
    lower, upper, count = operation.lower, operation.upper, operation.lanes
    place = np.arange(count) if count > 1 else 0

    def run() -> None:
        low, high = evaluate(lower, lanes, count > 1), evaluate(upper, lanes, count > 1)
        values[result] = (low <= place) & (place < high)

    return run


def where_holds(where: Sequence[Dim], lanes: Lanes) -> bool | Array:
    """Whether each formula is >= 0: one answer for all lanes, or a mask."""
    found: bool | Array = True
    for formula in where:
        at: Number = formula.evaluate(lanes.env)
        if isinstance(at, int):
            if at < 0:
                return False
            continue
        holds_here = np.asarray(at >= 0)
        if not holds_here.all():
            found = holds_here if found is True else np.logical_and(found, holds_here)
    return found


def holds(machine: Machine, operation: Holds) -> Step:
    values, lanes, result, where = machine.values, machine.lanes, operation.result, operation.where

    def run() -> None:
        found = where_holds(where, lanes)
        values[result] = np.full((1,) * lanes.rank, found) if isinstance(found, bool) else found

    return run


def broadcast(machine: Machine, operation: Broadcast) -> Step:
    values, x, result, count = machine.values, operation.x, operation.result, operation.lanes
    if count == 1:

        def same() -> None:
            values[result] = values[x]

        return same

    def run() -> None:
        scalar = values[x]
        values[result] = np.broadcast_to(scalar[..., None], (*scalar.shape, count))

    return run


def reduce_lanes(machine: Machine, operation: ReduceLanes) -> Step:
    values, x, result, join = machine.values, operation.x, operation.result, FOLDS[operation.kind]

    def run() -> None:
        vector = values[x]
        values[result] = fold(join, [vector[..., lane] for lane in range(vector.shape[-1])])

    return run


def take_lanes(machine: Machine, operation: TakeLanes) -> Step:
    values, x, result = machine.values, operation.x, operation.result
    taken = slice(operation.start, operation.start + operation.lanes) if operation.lanes > 1 else operation.start

    def run() -> None:
        values[result] = values[x][..., taken]

    return run


def cast(machine: Machine, operation: Cast) -> Step:
    values, x, result, dtype = machine.values, operation.x, operation.result, operation.dtype
    wide = machine.wide and dtype.is_float

    def run() -> None:
        values[result] = values[x].astype(np.float64) if wide else cast_array(values[x], dtype)

    return run


def bitcast(machine: Machine, operation: Bitcast) -> Step:
    values, x, result = machine.values, operation.x, operation.result
    source, dtype = element_dtype(operation.x.type), operation.dtype

    def run() -> None:
        bits = np.ascontiguousarray(values[x].astype(source.numpy)).view(dtype.numpy)
        values[result] = bits.astype(machine.numpy(dtype))

    return run


def select(machine: Machine, operation: Select) -> Step:
    values, result = machine.values, operation.result
    condition, x, y = operation.condition, operation.x, operation.y
    whole = lanes_of(condition.type) != lanes_of(x.type)  # one condition for all lanes of a vector

    def run() -> None:
        chosen = values[condition]
        values[result] = np.where(chosen[..., None] if whole else chosen, values[x], values[y])

    return run


def fma(machine: Machine, operation: Fma) -> Step:
    values, result, operands = machine.values, operation.result, operation.operands
    # Rationals, which round a float64 fma once, are slow; the wide run is far more exact than its readers need.
    compute = (lambda a, b, c: a * b + c) if machine.wide else operation.reference

    def run() -> None:
        values[result] = compute(*np.broadcast_arrays(*[values[o] for o in operands]))

    return run
