"""A region's arithmetic, written out at a builder: on scalars, or on vectors whose lanes are one axis.

In: the region, values for its arguments, the vector axis if there is one.  Out: the values it yields.  A scalar
that meets a vector is broadcast; a formula that mentions the vector axis becomes one value per lane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.ir.core import Operation, Region, Value
from headrace.ir.dims import DimLike, Facts
from headrace.ir.kernel.ops.convert import Bitcast, Broadcast, Cast, Holds, Index, Mask
from headrace.ir.kernel.ops.scalar import And, Compare, Pointwise, Select
from headrace.ir.rewrite import Builder
from headrace.ir.types import BOOL, VectorType, with_lanes
from headrace.passes.lowering.guards import lane_range, linear_in


@dataclass(frozen=True, slots=True)
class Lanes:
    """The vector axis: its name and how many lanes; no name and one lane for scalar code."""

    axis: str | None = None
    count: int = 1


def write_region(
    builder: Builder,
    region: Region,
    arguments: Sequence[Value],
    rename: Mapping[str, DimLike],
    lanes: Lanes,
    facts: Facts,
) -> list[Value]:
    """Copies the operations of `region`; formulas have `rename` applied."""
    values: dict[Value, Value] = dict(zip(region.block.arguments, arguments, strict=True))
    for operation in region.block.body:
        before = builder.location
        builder.location = operation.location
        values[operation.result] = _widened(
            builder, operation, [values[o] for o in operation.operands], rename, lanes, facts
        )
        builder.location = before
    return [values[o] for o in region.block.terminator.operands]


def broadcast(builder: Builder, value: Value, lanes: int) -> Value:
    """`value` in each lane; itself if it is a vector already or there is one lane."""
    if lanes == 1 or isinstance(value.type, VectorType):
        return value
    return builder.add(Broadcast(value, lanes)).result


def _widened(
    builder: Builder,
    operation: Operation,
    operands: list[Value],
    rename: Mapping[str, DimLike],
    lanes: Lanes,
    facts: Facts,
) -> Value:
    match operation:
        case Index():
            formula = operation.value.substitute(rename)
            if lanes.axis is None or lanes.axis not in formula.symbols:
                return builder.add(Index(formula, operation.dtype)).result
            factor, rest = linear_in(formula, lanes.axis)
            return builder.add(Index(rest, operation.dtype, lanes.count, factor)).result
        case Holds():
            return holds(builder, [w.substitute(rename) for w in operation.where], lanes, facts)
        case Cast():
            return builder.add(Cast(operands[0], operation.dtype)).result
        case Bitcast():
            return builder.add(Bitcast(operands[0], operation.dtype)).result
        case Pointwise() | Compare() | Select():
            return _pointwise(builder, operation, operands, lanes.count)
    copy = operation.clone(dict(zip(operation.operands, operands, strict=True)))
    return builder.add(copy).result


def _pointwise(builder: Builder, operation: Operation, operands: list[Value], lanes: int) -> Value:
    wide = any(isinstance(o.type, VectorType) for o in operands)
    if wide:
        operands = [broadcast(builder, o, lanes) for o in operands]
    copy = operation.clone(dict(zip(operation.operands, operands, strict=True)))
    copy.results[0].type = copy.infer()[0]
    return builder.add(copy).result


def holds(builder: Builder, conditions: Sequence[DimLike], lanes: Lanes, facts: Facts) -> Value:
    """Whether all conditions are >= 0, for the one point or for each lane."""
    formulas = [c for c in conditions if not isinstance(c, int)]
    varying = [f for f in formulas if lanes.axis is not None and lanes.axis in f.symbols]
    fixed = [f for f in formulas if f not in varying]
    value: Value | None = None
    if varying and lanes.axis is not None:
        found = lane_range(varying, lanes.axis, lanes.count, facts)
        if found is not None:
            value = builder.add(Mask(found.lower, found.upper, lanes.count)).result
    if fixed or value is None:
        scalar = builder.add(Holds(tuple(fixed))).result
        if value is None:
            return scalar
        assert value.type == with_lanes(BOOL, lanes.count)
        return builder.add(And(value, broadcast(builder, scalar, lanes.count))).result
    return value
