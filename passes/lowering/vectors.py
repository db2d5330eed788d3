"""Loads and stores at a point of a structured operation, in each lane if there are lanes.

In: an access with its index formulas, the vector axis, conditions for lanes to exist.  Out: the operations, at a
builder.  Formulas must be linear in the vector axis; a read that does not mention it is one load and a broadcast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.ir.access import Access, AccessMap
from headrace.ir.core import Value
from headrace.ir.dims import Dim, Facts
from headrace.ir.kernel.ops.memory import Load, Store
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType
from headrace.passes.lowering.guards import inside, linear_in
from headrace.passes.lowering.widen import Lanes, broadcast, holds


def load_at(
    builder: Builder, access: Access, rename: Mapping[str, Dim], lanes: Lanes, facts: Facts, existing: Sequence[Dim]
) -> Value:
    """The element, one in each lane; `existing`: what must be >= 0 for a lane to be in the domain."""
    map = access.map.substitute(rename)
    kind = access.value.type
    assert isinstance(kind, BufferType)
    start, steps = split(map, lanes)
    varying = lanes if any(steps) else Lanes()
    conditions = list(existing) if any(steps) else []
    if map.otherwise is not None:
        conditions += inside(map.indices, kind.dims, facts)
        varying = lanes if _mention(conditions, lanes) else varying
    mask = holds(builder, conditions, lanes, facts) if conditions else None
    if mask is not None:
        mask = broadcast(builder, mask, varying.count)
    otherwise = 0 if map.otherwise is None else map.otherwise
    load = Load(Access(access.value, start), mask, varying.count, packed(steps, varying.count), otherwise)
    return broadcast(builder, builder.add(load).result, lanes.count)


def store_at(
    builder: Builder,
    value: Value,
    access: Access,
    rename: Mapping[str, Dim],
    lanes: Lanes,
    facts: Facts,
    existing: Sequence[Dim],
) -> None:
    """Writes the lanes that exist."""
    start, steps = split(access.map.substitute(rename), lanes)
    mask = holds(builder, existing, lanes, facts) if existing else None
    if mask is not None:
        mask = broadcast(builder, mask, lanes.count)
    wide = broadcast(builder, value, lanes.count)
    builder.add(Store(wide, Access(access.value, start), mask, packed(steps, lanes.count)))


def split(map: AccessMap, lanes: Lanes) -> tuple[AccessMap, tuple[int, ...]]:
    """Indices of lane 0, and their step from lane to lane."""
    if lanes.axis is None:
        return AccessMap(map.indices), (0,) * len(map.indices)
    parts = [linear_in(i, lanes.axis) for i in map.indices]
    return AccessMap(tuple(rest for _, rest in parts)), tuple(step for step, _ in parts)


def packed(steps: tuple[int, ...], lanes: int) -> tuple[int, ...]:
    """The `steps` attribute: empty for one lane and for lanes along the last dim."""
    return () if lanes == 1 or steps == (*(0,) * (len(steps) - 1), 1) else steps


def _mention(conditions: Sequence[Dim], lanes: Lanes) -> bool:
    return lanes.axis is not None and any(lanes.axis in c.symbols for c in conditions)
