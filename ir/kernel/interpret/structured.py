"""kernel.map and kernel.reduce under interpretation.

In: the machine and an operation.  Out: a closure.  The independent axes run in lock step, the sequential and the
reduction axes one point after the other in the order in which they are declared; accumulators have their
declared type.  Points that `where` excludes are masked.  Reductions that have accumulators for each point of
some axes run once for each of these points; then `combine` joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod

import numpy as np

from headrace.ir.access import SPREAD, Access, Axis
from headrace.ir.core import BlockArgument, Operation, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.kernel.interpret.accesses import load, load_padded, store
from headrace.ir.kernel.interpret.lanes import Array, Number, both
from headrace.ir.kernel.interpret.lookups import looked_up
from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.interpret.numbers import where_holds
from headrace.ir.kernel.ops.structured import INDEPENDENT, Map, Reduce, Structured

Reader = Callable[[], Array]
Writer = Callable[[Array], None]


def map_step(machine: Machine, operation: Map) -> Step:
    names = [a.name for a in operation.found]
    with machine.inside(operation), machine.naming(names):
        lookups = _readers(machine, operation, operation.lookups)
        reads = _readers(machine, operation, operation.reads)
        writes = _writers(machine, operation, operation.writes)
        body = _Body(machine, operation.body)
    ordered = [a for a in operation.axes if a.kind not in INDEPENDENT]

    def run() -> None:
        extents = [a.extent.evaluate(machine.lanes.env) for a in ordered]
        saved = machine.open(operation, "parallel")
        if saved is None:
            return
        for _ in points(machine, ordered, extents, operation.where):
            with looked_up(machine.lanes, operation.found, lookups, operation.nodes):
                for write, value in zip(writes, body([read() for read in reads]), strict=True):
                    write(value)
        _close(machine, ordered, saved)

    return run


def reduce_step(machine: Machine, operation: Reduce) -> Step:
    with machine.inside(operation):
        reads = _readers(machine, operation, operation.reads)
        late = _readers(machine, operation, operation.late)
        writes = _writers(machine, operation, operation.writes)
        init, step = _Body(machine, operation.init), _Body(machine, operation.step)
        finish = _Body(machine, operation.finish)
    combine = _Body(machine, operation.combine)
    ordered = [a for a in operation.axes if a.kind not in (*INDEPENDENT, *SPREAD)]
    spread = [a for a in operation.axes if a.kind in SPREAD]
    names = {a.name for a in (*ordered, *spread)}
    of_step = [f for f in operation.where if names & set(f.symbols)]
    of_point = [f for f in operation.where if not names & set(f.symbols)]
    lanes = machine.lanes

    def accumulate(extents: Sequence[Number], start: int, stop: int | None) -> list[Array]:
        state = init([])
        for mask in points(machine, ordered, extents, of_step, start, stop):
            stepped = step([*(read() for read in reads), *state])
            state = stepped if mask is None else [np.where(mask, n, o) for n, o in zip(stepped, state, strict=True)]
        return state

    def in_parts(extents: Sequence[Number]) -> list[Array]:
        if not machine.split:
            return accumulate(extents, 0, None)
        half = prod(_most(e) for e in extents) // 2
        return combine([*accumulate(extents, 0, half), *accumulate(extents, half, None)])

    def joined(extents: Sequence[Number]) -> list[Array]:
        states = []
        for point in product(*[range(a.extent.value) for a in spread]):
            lanes.env.update(zip((a.name for a in spread), point, strict=True))
            states.append(in_parts(extents))
        while len(states) > 1:
            half = len(states) // 2
            states = [combine([*a, *b]) for a, b in zip(states[:half], states[half:], strict=True)]
        return states[0]

    def run() -> None:
        extents = [a.extent.evaluate(lanes.env) for a in ordered]
        saved = machine.open(operation, "parallel")
        if saved is None:
            return
        for _ in points(machine, (), (), of_point):
            state = joined(extents)
            for write, value in zip(writes, finish([*state, *(read() for read in late)]), strict=True):
                write(value)
        _close(machine, (*ordered, *spread), saved)

    return run


def _close(machine: Machine, ordered: Sequence[Axis], saved: object) -> None:
    for axis in ordered:
        machine.lanes.env.pop(axis.name, None)
    machine.lanes.close(saved)  # type: ignore[arg-type]


def points(
    machine: Machine,
    axes: Sequence[Axis],
    extents: Sequence[Number],
    where: Sequence[Dim],
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Array | None]:
    """Goes through the points of ordered axes, with the lanes narrowed to those for which the point exists.

    Gives the mask of these, None for all.  `start` and `stop` count points.
    """
    lanes = machine.lanes
    before = lanes.active
    for point in islice(product(*[range(_most(e)) for e in extents]), start, stop):
        mask: Array | None = None
        for axis, number, extent in zip(axes, point, extents, strict=True):
            lanes.env[axis.name] = number
            if not isinstance(extent, int):
                mask = both(mask, number < extent)
        holds = where_holds(where, lanes)
        if holds is False:
            continue
        mask = mask if holds is True else both(mask, holds)
        if mask is None or lanes.narrow(mask):
            yield mask
        lanes.active = before


def _most(extent: Number) -> int:
    return extent if isinstance(extent, int) else int(extent.max(initial=0))


class _Body:
    """A region as a function of its arguments' values."""

    def __init__(self, machine: Machine, region: Region) -> None:
        self.values = machine.values
        self.arguments: tuple[BlockArgument, ...] = region.block.arguments
        self.results: tuple[Value, ...] = region.block.terminator.operands
        self.step = machine.translate(region.block)

    def __call__(self, given: Sequence[Array]) -> list[Array]:
        values = self.values
        for argument, value in zip(self.arguments, given, strict=True):
            values[argument] = value
        self.step()
        return [values[r] for r in self.results]


def _readers(machine: Machine, operation: Structured, accesses: Sequence[Access]) -> list[Reader]:
    return [reader(machine, operation, a) for a in accesses]


def reader(machine: Machine, operation: Operation, access: Access) -> Reader:
    """Reads the element of each lane."""
    plan, otherwise = machine.plan(access.map), access.map.otherwise
    values: Mapping[Value, object] = machine.values
    lanes, source = machine.lanes, access.value
    if otherwise is None:
        return lambda: load(operation, lanes, values[source], plan, None, 0)  # type: ignore[arg-type]
    return lambda: load_padded(operation, lanes, values[source], plan, otherwise)  # type: ignore[arg-type]


def _writers(machine: Machine, operation: Structured, accesses: Sequence[Access]) -> list[Writer]:
    return [writer(machine, operation, a) for a in accesses]


def writer(machine: Machine, operation: Operation, access: Access) -> Writer:
    """Writes the element of each lane."""
    plan, target = machine.plan(access.map), access.value

    def write(value: Array) -> None:
        store(operation, machine.lanes, machine.buffer(target), plan, value, None)

    return write
