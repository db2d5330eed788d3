"""Rows cut into strips of vectors: the loops of a map along a row, and of a reduction with lanes of its own.

A *strip* is what one iteration of the innermost loop does: `u` vectors of `l` lanes.  Where strips do not divide
the row, the loop over whole strips has no masks and no tests, and what is left follows behind it:

    kernel.reduce (i: task m, k_o: reduction (n + 31) floordiv 32, u: reduction_split 4, l: reduction_vector 8)
        ... {where = [n - 1 - k_o*32 - u*8 - l]}

    kernel.parallel (i: task m) {
      %acc = kernel.alloc {type = buffer<f32[4, 8], register>}
      for u: store init to %acc[u, 0]
      for k_o below n floordiv 32:  for u: load, step, store to %acc[u, 0]
      for what is left of k_o:      for u: if any lane exists: the same, with a mask; other lanes keep what they have
      combine %acc[0..1, 0] with %acc[2..3, 0], then %acc[0, 0] with %acc[1, 0], then its lanes; finish; store
    }

What does not depend on the row's own axes is loaded before its loops.  Rows may form a register tile (`unroll`
axes before the spread ones): then each vector that all of them read is loaded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from headrace.ir.access import SEQUENTIAL, SPREAD, Access, AccessMap, Axis
from headrace.ir.core import Region, Value
from headrace.ir.dims import Dim, Facts, dim_max, dim_min
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import If
from headrace.ir.kernel.ops.convert import TakeLanes
from headrace.ir.kernel.ops.memory import Alloc, Load, Store
from headrace.ir.kernel.ops.scalar import Select
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType
from headrace.passes.lowering.guards import last_legal, linear_in
from headrace.passes.lowering.lookups import Around, given_facts
from headrace.passes.lowering.loops import guarded, loops
from headrace.passes.lowering.names import Names
from headrace.passes.lowering.vectors import load_at, store_at
from headrace.passes.lowering.widen import Lanes, broadcast, holds, write_region

Rename = dict[str, Dim]


def has_strips(op: Structured) -> bool:
    """Whether `op` is a reduction with lanes of its own, or a map whose last loop runs over vectors of a row."""
    if any(a.kind in SPREAD for a in op.axes):
        return True
    kinds = [a.kind for a in op.axes]
    unrolled = kinds.count("unroll")
    if not isinstance(op, Map) or kinds[-1:] != ["vector"] or unrolled > 1 or set(SEQUENTIAL) & set(kinds):
        return False
    place = len(kinds) - 2 - unrolled
    if place < 0 or kinds[place] != "parallel" or (unrolled and kinds[-2] != "unroll"):
        return False
    tile = {a.name for a in op.axes[place + 1 :]}
    tied = [c for c in op.where if tile & set(c.symbols)]
    return len(tied) <= 1 and all(op.axes[place].name in c.symbols for c in tied)


@dataclass(frozen=True, slots=True)
class _Tied:
    """The condition that a strip may violate, and the loop over strips."""

    condition: Dim
    loop: Axis

    def at(self, rename: Rename) -> Dim:
        return self.condition.substitute(rename)


class Strips:
    """Builds the loops of one structured operation at a builder."""

    def __init__(self, op: Structured, builder: Builder, facts: Facts, names: Names) -> None:
        self.op, self.builder, self.facts, self.names = op, builder, given_facts(op, facts), names
        for axis in op.axes:
            self.facts = self.facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        lanes = [a for a in op.axes if a.kind in ("vector", "reduction_vector")]
        self.lanes = Lanes(lanes[0].name, lanes[0].extent.value) if lanes else Lanes()
        self.vectors = [a for a in op.axes if a.kind == self._several]
        self.rows = tuple(a for a in op.axes if a.kind == "unroll" and a not in self.vectors)
        inner = {a.name for a in (*lanes, *self.vectors, *self.rows)}
        loops = [a for a in op.axes if a.name not in inner]
        count = sum(a.kind == "reduction" for a in loops) if isinstance(op, Reduce) else 1
        self.around, self.along = tuple(loops[: len(loops) - count]), tuple(loops[len(loops) - count :])
        kinds = [a.kind for a in self.along]
        if isinstance(op, Reduce) and kinds != ["reduction"] * count:
            raise self._fail("expected loops, then reductions, then unroll axes")
        self.clamps, self.existing = {}, []  # type: dict[str, Dim], list[Dim]
        self.tied: _Tied | None = None
        self.outer: list[Dim] = []
        self.inside: list[Dim] = []
        for condition in op.attributes["where"]:
            self._sort(condition)

    @property
    def _several(self) -> str:
        return "reduction_split" if isinstance(self.op, Reduce) else "unroll"

    def build(self) -> None:
        """Emits the loops."""
        with Around(self.op, self.around, self.builder).open(self.outer):
            if isinstance(self.op, Reduce):
                _Fold(self, self.op).emit()
            else:
                assert isinstance(self.op, Map)
                self._map(self.op)

    # ---- conditions --------------------------------------------------------------------------------------

    def _sort(self, condition: Dim) -> None:
        symbols = set(condition.symbols)
        strip = {a.name for a in self.vectors} | ({self.lanes.axis} if self.lanes.axis else set())
        rows = [a.name for a in self.rows if a.name in symbols]
        along = [a for a in self.along if a.name in symbols]
        if symbols & strip:
            if self.tied is not None or rows or along != list(self.along[-1:]):
                raise self._fail(f"{condition} >= 0 ties a strip to more than the loop over strips")
            self.tied = _Tied(condition, along[-1])
        elif rows:
            if along or len(rows) > 1:
                raise self._fail(f"{condition} >= 0 ties a register axis to another")
            limit = last_legal(condition, rows[0])
            if self.facts.less_equal(0, limit) is not True:
                self.outer.append(limit)
            self.clamps[rows[0]] = dim_min(self.clamps.get(rows[0], Dim.symbol(rows[0])), limit)
            self.existing.append(condition)
        elif along:
            self.inside.append(condition)
        else:
            self.outer.append(condition)

    def _fail(self, what: str) -> PassError:
        axes = ", ".join(f"{a.name}: {a.kind}" for a in self.op.axes)
        return PassError(f"{self.op.name} at {self.op.location}: axes are {axes}; {what}")

    # ---- loops -------------------------------------------------------------------------------------------

    @contextmanager
    def unrolled(self, axes: Sequence[Axis]) -> Iterator[Rename]:
        """Register loops under fresh names; gives what to substitute."""
        fresh = [Axis(self.names.fresh(a.name), "unroll", a.extent) for a in axes]
        for axis in fresh:
            self.facts = self.facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        with loops(self.builder, fresh):
            yield {a.name: Dim.symbol(f.name) for a, f in zip(axes, fresh, strict=True)}

    def over_strips(self, body: Callable[[Rename, bool], None]) -> None:
        """Runs `body` for whole strips, then for what is left; it gets names to substitute, and whether lanes may
        be missing."""
        if self.tied is None:
            with loops(self.builder, self.along), guarded(self.builder, self.inside):
                body({}, False)
            return
        *before, loop = self.along
        whole = self._whole_strips(self.tied)
        with loops(self.builder, before):
            for start, extent, is_rest in ((Dim.constant(0), whole, False), (whole, loop.extent - whole, True)):
                axis = replace(loop, name=self.names.fresh(loop.name), extent=extent)
                self.facts = self.facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
                rename: Rename = {loop.name: start + Dim.symbol(axis.name)}
                with loops(self.builder, [axis]), guarded(self.builder, [c.substitute(rename) for c in self.inside]):
                    body(rename, is_rest)

    def _whole_strips(self, tied: _Tied) -> Dim:
        """How many of the loop's first iterations have all their lanes."""
        extents = {a.name: a.extent for a in self.vectors}
        if self.lanes.axis is not None:
            extents[self.lanes.axis] = Dim.constant(self.lanes.count)
        worst = best = tied.condition
        for name, extent in extents.items():
            falls = linear_in(worst, name)[0] < 0
            worst = worst.substitute({name: extent - 1 if falls else 0})
            best = best.substitute({name: 0 if falls else extent - 1})
        found = last_legal(worst, tied.loop.name) + 1
        if self.facts.less_equal(0, found) is not True:
            found = dim_max(0, found)
        ends = self.facts.less(best.substitute({tied.loop.name: tied.loop.extent}), 0)  # behind the loop is no lane
        return found if ends is True else dim_min(found, tied.loop.extent)

    # ---- map ---------------------------------------------------------------------------------------------

    def _map(self, op: Map) -> None:
        own = {a.name for a in op.axes} - {a.name for a in self.around}
        early = {r: self.load(r, {}, []) for r in op.reads if not own & _symbols(r)}

        def vector(rename: Rename, existing: Sequence[Dim]) -> None:
            values = [early[r] if r in early else self.load(r, rename, existing) for r in op.reads]
            results = write_region(self.builder, op.body, values, rename, self.lanes, self.facts)
            for value, access in zip(results, op.writes, strict=True):
                store_at(self.builder, value, access, rename, self.lanes, self.facts, existing)

        def strip(rename: Rename, is_rest: bool) -> None:
            with self.unrolled(self.vectors) as more:
                names = {**rename, **more}
                if is_rest:
                    self._whole_or_part(names, vector)
                else:
                    vector(names, [])

        self.over_strips(strip)

    def _whole_or_part(self, names: Rename, vector: Callable[[Rename, Sequence[Dim]], None]) -> None:
        """Masked stores cost as much as ten plain ones: only the last vector of a row needs one."""
        condition = self.condition(names)
        whole, rest, part = Region(), Region(), Region()
        self.builder.add(If(None, (self.at_lane(condition, self.lanes.count - 1),), whole, rest))
        with self.builder.at(whole.block):
            vector(names, [])
        with self.builder.at(rest.block):
            self.builder.add(If(None, (self.at_lane(condition, 0),), part, Region()))
        with self.builder.at(part.block):
            vector(names, [condition])

    def condition(self, names: Rename) -> Dim:
        """What must be >= 0 for a lane to exist."""
        assert self.tied is not None
        return self.tied.at(names)

    def at_lane(self, condition: Dim, lane: int) -> Dim:
        return condition if self.lanes.axis is None else condition.substitute({self.lanes.axis: lane})

    def load(self, access: Access, rename: Rename, existing: Sequence[Dim]) -> Value:
        clamped = Access(access.value, access.map.substitute(self.clamps))
        return load_at(self.builder, clamped, rename, self.lanes, self.facts, existing)


class _Fold:
    """A reduction with accumulators for each row, vector and lane."""

    def __init__(self, strips: Strips, op: Reduce) -> None:
        self.strips, self.op, self.builder = strips, op, strips.builder
        self.lanes = strips.lanes
        extents = [a.extent for a in (*strips.rows, *strips.vectors)]
        kinds = [BufferType(e.dtype, (*extents, Dim.constant(self.lanes.count)), "register") for e in op.accumulators]
        self.state = [self.builder.add(Alloc(kind), "acc").result for kind in kinds]

    def emit(self) -> None:
        strips = self.strips
        with strips.unrolled(strips.rows) as rows, strips.unrolled(strips.vectors) as vectors:
            start = write_region(self.builder, self.op.init, [], {}, self.lanes, strips.facts)
            self._keep({**rows, **vectors}, start)
        axes = {a.name for a in (*strips.along, *strips.rows, *strips.vectors)} | {self.lanes.axis or ""}
        self.early = {r: strips.load(r, {}, []) for r in self.op.reads if not axes & _symbols(r)}
        strips.over_strips(self._strip)
        with strips.unrolled(strips.rows) as rows:
            self._finish(rows)

    def _strip(self, rename: Rename, is_rest: bool) -> None:
        strips = self.strips
        with strips.unrolled(strips.vectors) as vectors:
            names = {**rename, **vectors}
            exists = [strips.condition(names)] if is_rest else []
            with guarded(self.builder, [strips.at_lane(c, 0) for c in exists]):
                of_row = {a.name for a in strips.rows}
                shared = {
                    r: strips.load(r, names, exists)
                    for r in self.op.reads
                    if r not in self.early and not of_row & _symbols(r)
                }
                mask = holds(self.builder, exists, self.lanes, strips.facts) if exists else None
                with strips.unrolled(strips.rows) as rows:
                    self._step({**names, **rows}, {**self.early, **shared}, exists, mask)

    def _step(self, names: Rename, known: dict[Access, Value], exists: Sequence[Dim], mask: Value | None) -> None:
        strips, op = self.strips, self.op
        values = [known[r] if r in known else strips.load(r, names, exists) for r in op.reads]
        held = self._recall(names)
        stepped = write_region(self.builder, op.step, [*values, *held], names, self.lanes, strips.facts)
        wide = [broadcast(self.builder, v, self.lanes.count) for v in stepped]
        if mask is not None:
            wide = [self.builder.add(Select(mask, v, h)).result for v, h in zip(wide, held, strict=True)]
        self._keep(names, wide)

    def _finish(self, rows: Rename) -> None:
        strips, op = self.strips, self.op
        places = [rows]
        for axis in strips.vectors:
            places = [{**rows, axis.name: Dim.constant(v)} for v in range(axis.extent.value)]
        states = [self._recall(place) for place in places]
        while len(states) > 1:
            half = len(states) // 2
            states = [self._joined(a, b, self.lanes.count) for a, b in zip(states[:half], states[half:], strict=True)]
        (state,), count = states, self.lanes.count
        while count > 1:
            count //= 2
            halves = [[self.builder.add(TakeLanes(v, s, count)).result for v in state] for s in (0, count)]
            state = self._joined(halves[0], halves[1], count)
        scalar = Lanes()
        late = [load_at(self.builder, self._clamped(a), rows, scalar, strips.facts, []) for a in op.late]
        results = write_region(self.builder, op.finish, [*state, *late], rows, scalar, strips.facts)
        with guarded(self.builder, [c.substitute(rows) for c in strips.existing]):
            for value, access in zip(results, op.writes, strict=True):
                store_at(self.builder, value, access, rows, scalar, strips.facts, [])

    def _joined(self, left: Sequence[Value], right: Sequence[Value], count: int) -> list[Value]:
        found = write_region(self.builder, self.op.combine, [*left, *right], {}, Lanes(None, count), self.strips.facts)
        return [broadcast(self.builder, v, count) for v in found]

    def _clamped(self, access: Access) -> Access:
        return Access(access.value, access.map.substitute(self.strips.clamps))

    # ---- registers ---------------------------------------------------------------------------------------

    def _place(self, buffer: Value, names: Rename) -> Access:
        axes = (*self.strips.rows, *self.strips.vectors)
        indices = tuple(Dim.symbol(a.name).substitute(names) for a in axes)
        return Access(buffer, AccessMap((*indices, Dim.constant(0))))

    def _keep(self, names: Rename, values: Sequence[Value]) -> None:
        for buffer, value in zip(self.state, values, strict=True):
            self.builder.add(Store(broadcast(self.builder, value, self.lanes.count), self._place(buffer, names)))

    def _recall(self, names: Rename) -> list[Value]:
        loads = [Load(self._place(b, names), None, self.lanes.count) for b in self.state]
        return [self.builder.add(load, "acc").result for load in loads]


def _symbols(access: Access) -> set[str]:
    return {s for d in access.map.indices for s in d.symbols}
