"""Lookups of a map as loops code: each reads its index, checks it, and names it for what stands inside.

In: a lookup, whose axes are open as loops.  Out: code around what is built next:

    %i = kernel.load %ids[t] : i64
    %w = kernel.select ...                       // %i + extent where %i is negative
    kernel.check ... values(%i, %extent)         // 0 <= %w < extent
    kernel.let (row: given extent) %w { ... }
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headrace.ir.access import Access, Axis
from headrace.ir.core import Region
from headrace.ir.errors import PassError
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.lookup import OUT_OF_RANGE, Check, Let
from headrace.ir.kernel.ops.memory import Load
from headrace.ir.kernel.ops.structured import Map, Structured
from headrace.ir.rewrite import Builder
from headrace.ir.types import I64


def all_lookups(op: Structured) -> list[int]:
    """Their numbers."""
    return list(range(len(op.lookups))) if isinstance(op, Map) else []


def check_lookups(op: Structured, outer: Sequence[Axis]) -> None:
    """Raises PassError for a lookup that depends on an axis of the register tile."""
    inner = {a.name for a in op.axes} - {a.name for a in outer}
    for number in all_lookups(op):
        assert isinstance(op, Map)
        inside = inner & op.all_symbols_of(op.lookups[number])
        if inside:
            what = f"{op.found[number].name} is looked up for each {min(inside)}"
            raise PassError(f"{op.name} at {op.location}: {what}; such an axis can be no vector or register axis")


def lookups_after(op: Structured, opened: Sequence[Axis], more: Sequence[Axis]) -> list[int]:
    """The lookups all of whose axes are open once `more` are opened behind `opened`, and were not before."""
    if not isinstance(op, Map):
        return []
    before, now = ({a.name for a in axes} for axes in (opened, (*opened, *more)))
    own = {a.name for a in op.axes}
    needed = [op.all_symbols_of(access) & own for access in op.lookups]
    return [i for i, n in enumerate(needed) if n <= now and not (opened and n <= before)]


@contextmanager
def looked_up(op: Structured, builder: Builder, chosen: Sequence[int]) -> Iterator[None]:
    """Builds what the chosen lookups need; what is built while it is open may mention their names."""
    if not chosen:
        yield
        return
    assert isinstance(op, Map)
    access, axis, node = op.lookups[chosen[0]], op.found[chosen[0]], op.nodes[chosen[0]]
    body = Region()
    with builder.at(_let(builder, access, axis, node, body).block), looked_up(op, builder, chosen[1:]):
        yield


def _let(builder: Builder, access: Access, axis: Axis, node: int, body: Region) -> Region:
    b = ScalarBuilder(builder)
    index = b.cast(builder.add(Load(access)).result, I64)
    zero, extent = b.constant(0, index), b.index(axis.extent)
    counted = b.select(b.compare("lt", index, zero), b.add(index, extent), index)
    inside = b.bit_and(b.compare("le", zero, counted), b.compare("lt", counted, extent))
    builder.add(Check(inside, (index, extent), OUT_OF_RANGE, node))
    builder.add(Let((axis,), counted, body))
    return body
