"""A structured map or reduce as loops: what `kernel.realize` does to one operation.

The axes' order is the loops' order.  The axes before the first reduction (or before the first `unroll` or
`vector` axis) become loops around everything.  `unroll` and `vector` axes behind that are the *register tile*:
each accumulator becomes a register buffer with one dim for each of them, and its loops stand inside the
reduction loops:

    kernel.reduce (i: task m, k: reduction 768, u: unroll 6, v: vector 16) ...

    kernel.parallel (i: task m) {
      %acc = kernel.alloc {type = buffer<f32[6, 16], register>}
      for u: store init to %acc[u, 0]
      for k: { for u: load the reads, step, store to %acc[u, 0] }
      for u: load %acc[u, 0], finish, store to the result
    }

A read goes as far out as the axes it mentions allow.  Where it skips a register axis that lies outside one it
mentions, it is *staged*: loaded into registers before the tile's loops, so that no element is loaded twice.

Where tiles or vectors may stick out of the domain, code that would need masks has two versions: a test of the formulas
alone chooses the one without masks for whole tiles.  (On AVX2 a masked store costs as much as ten plain ones.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from headrace.ir.access import REDUCTIONS, Access, AccessMap, Axis
from headrace.ir.core import Region, Value
from headrace.ir.dims import Dim, DimLike, Facts, dim_min
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import If
from headrace.ir.kernel.ops.memory import Alloc, Load, Store
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured, elements
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType, Element
from headrace.passes.lowering.guards import inside, last_legal, linear_in
from headrace.passes.lowering.lookups import Around, given_facts
from headrace.passes.lowering.loops import guarded, loops
from headrace.passes.lowering.names import Names
from headrace.passes.lowering.strips import Strips, has_strips
from headrace.passes.lowering.vectors import packed, split
from headrace.passes.lowering.widen import Lanes, broadcast, holds, write_region

REGISTER = ("unroll", "vector")


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The `where` formulas of an operation by what they restrict."""

    outer: tuple[Dim, ...]  # loops around everything
    reduction: tuple[Dim, ...]
    tile: tuple[Dim, ...]  # register axes but no lanes
    lanes: tuple[Dim, ...]


@dataclass(slots=True)
class _Planned:
    """One read: its map with clamped indices, and the axes its loading depends on."""

    access: Access
    element: Element
    conditions: tuple[Dim, ...]  # for it to be inside the buffer, where not proven
    level: int  # how many reduction loops are open where it is loaded
    tile: tuple[Axis, ...]  # the unroll axes it mentions, in order
    masked: bool  # because lanes that do not exist are outside
    staged: Value | None = None
    loaded: dict[int, Value] = field(default_factory=dict)  # by depth in the tile's loops


class Nest:
    """Builds the loops of one structured operation at a builder."""

    def __init__(self, op: Structured, builder: Builder, facts: Facts, names: Names) -> None:
        self.op = op
        self.builder = builder
        self.names = names
        axes = op.axes
        first = next((i for i, a in enumerate(axes) if a.kind in (*REDUCTIONS, *REGISTER)), len(axes))
        self.outer = axes[:first]
        self.reductions = tuple(a for a in axes[first:] if a.kind in REDUCTIONS)
        self.tile = tuple(a for a in axes[first:] if a.kind == "unroll")
        vectors = [a for a in axes if a.kind == "vector"]
        self.lanes = Lanes(vectors[0].name, vectors[0].extent.value) if vectors else Lanes()
        self._check_order(axes[first:], vectors)
        self.facts = given_facts(op, facts)
        for axis in axes:
            self.facts = self.facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        self.conditions = self._sort_conditions()
        self.clamps, needed = self._clamps()
        self.folding: dict[str, Dim] = {}  # what the reduction axes are called in the second of two versions
        self.around = tuple(dict.fromkeys((*self.conditions.outer, *needed)))

    def build(self) -> None:
        """Emits the loops."""
        with Around(self.op, self.outer, self.builder).open(self.around):
            if isinstance(self.op, Reduce):
                self._reduce(self.op)
            else:
                assert isinstance(self.op, Map)
                op = self.op
                self._in_versions(lambda: self._map(op))

    # ---- what is where -----------------------------------------------------------------------------------

    def _check_order(self, rest: Sequence[Axis], vectors: list[Axis]) -> None:
        kinds = ["tile" if a.kind in REGISTER else "reduction" if a.kind in REDUCTIONS else a.kind for a in rest]
        if len(vectors) > 1 or (vectors and vectors[0] is not self.op.axes[-1]):
            raise PassError(f"{self.op.name} at {self.op.location}: a vector axis must be the only one and the last")
        if kinds != sorted(kinds, key=lambda k: ("reduction", "tile").index(k) if k in ("reduction", "tile") else 2):
            raise PassError(
                f"{self.op.name} at {self.op.location}: axes are "
                f"{', '.join(f'{a.name}: {a.kind}' for a in self.op.axes)}; expected loops, then reductions, "
                "then unroll axes, then one vector axis"
            )
        if any(k not in ("reduction", "tile") for k in kinds):
            raise PassError(f"{self.op.name} at {self.op.location}: a loop axis stands inside a reduction")

    def _sort_conditions(self) -> _Conditions:
        where: tuple[Dim, ...] = self.op.attributes["where"]
        tile, reductions = {a.name for a in self.tile}, {a.name for a in self.reductions}
        sorted_: dict[str, list[Dim]] = {"outer": [], "reduction": [], "tile": [], "lanes": []}
        for condition in where:
            symbols = set(condition.symbols)
            inner = bool(symbols & tile) or self.lanes.axis in symbols
            if inner and symbols & reductions:
                raise PassError(f"{self.op.name} at {self.op.location}: {condition} >= 0 ties a reduction to the tile")
            place = (
                "lanes" if self.lanes.axis in symbols
                else "tile" if symbols & tile
                else "reduction" if symbols & reductions
                else "outer"
            )  # fmt: skip
            sorted_[place].append(condition)
        return _Conditions(*(tuple(sorted_[k]) for k in ("outer", "reduction", "tile", "lanes")))

    def _clamps(self) -> tuple[dict[str, Dim], list[Dim]]:
        """Reads of a row that does not exist read the last one that does: no branch in the inner loop.

        Returns what to substitute in reads, and the conditions for row 0 to exist where not proven.
        """
        clamps: dict[str, Dim] = {}
        needed: list[Dim] = []
        for condition in self.conditions.tile:
            axis = next(a.name for a in reversed(self.tile) if a.name in condition.symbols)
            limit = last_legal(condition, axis)
            if self.facts.less_equal(Dim.constant(0), limit) is not True:
                if set(limit.symbols) & {a.name for a in self.tile}:
                    raise PassError(f"{self.op.name} at {self.op.location}: {condition} >= 0 ties two register axes")
                needed.append(limit)
            clamps[axis] = dim_min(clamps.get(axis, Dim.symbol(axis)), limit)
        return clamps, needed

    # ---- loops -------------------------------------------------------------------------------------------

    @contextmanager
    def _tile(self, axes: Sequence[Axis]) -> Iterator[dict[str, Dim]]:
        """Opens register loops under fresh names; gives the names to substitute."""
        names = self._fresh(axes)
        with loops(self.builder, [replace(a, name=str(names[a.name])) for a in axes]):
            yield names

    def _fresh(self, axes: Sequence[Axis]) -> dict[str, Dim]:
        """Another name for each axis, of which as much is known: its loop is there more than once."""
        names = {a.name: Dim.symbol(self.names.fresh(a.name)) for a in axes}
        for axis in axes:
            self.facts = self.facts.with_symbol(str(names[axis.name]), Dim.constant(0), axis.extent.substitute(names))
        return names

    # ---- reads -------------------------------------------------------------------------------------------

    def _plan(self, accesses: Sequence[Access]) -> list[_Planned]:
        return [self._plan_one(a, e) for a, e in zip(accesses, elements(tuple(accesses)), strict=True)]

    def _plan_one(self, access: Access, element: Element) -> _Planned:
        buffer = access.value.type
        assert isinstance(buffer, BufferType)
        own = buffer.space == "register"  # has all rows of the tile, and only constants find them in registers
        clamped = access.map if own else access.map.substitute(self.clamps)
        conditions = tuple(inside(clamped.indices, buffer.dims, self.facts))
        if clamped.otherwise is None:
            # An existing iteration is inside: only lanes that do not exist, or vectors without any, can be outside.
            partial = {s for c in self.conditions.lanes for s in c.symbols}
            vectors = partial & {self.lanes.axis, *(a.name for a in self.tile)}
            outside = vectors & {s for c in conditions for s in c.symbols}
            conditions = self.conditions.lanes if outside else ()
        mentioned = {s for d in (*clamped.indices, *conditions) for s in d.symbols}
        levels = [i + 1 for i, a in enumerate(self.reductions) if a.name in mentioned]
        return _Planned(
            Access(access.value, clamped),
            element,
            conditions,
            max(levels, default=0),
            tuple(a for a in self.tile if a.name in mentioned),
            clamped.otherwise is None and bool(conditions),
        )

    def _load(self, read: _Planned, rename: Mapping[str, Dim]) -> Value:
        """The element at the current point, in each lane if there are lanes."""
        map, steps = split(read.access.map.substitute(rename), self.lanes)
        conditions = [c.substitute(rename) for c in read.conditions]
        varying = any(steps)
        lanes = self.lanes if varying else Lanes()
        mask = holds(self.builder, conditions, self.lanes, self.facts) if conditions else None
        if mask is not None:
            mask = broadcast(self.builder, mask, lanes.count)
        otherwise = read.access.map.otherwise
        load = Load(
            Access(read.access.value, AccessMap(map.indices)),
            mask,
            lanes.count,
            packed(steps, lanes.count),
            0 if otherwise is None else otherwise,
        )
        return broadcast(self.builder, self.builder.add(load).result, self.lanes.count)

    def _stage(self, reads: Sequence[_Planned], level: int) -> None:
        """Loads what belongs to this reduction level but not inside the tile's loops."""
        for read in reads:
            if read.level != level:
                continue
            if not read.tile:
                read.loaded[0] = self._load(read, self.folding)
            elif read.tile != self.tile[: len(read.tile)]:
                kind = read.element.dtype
                extents = (*(a.extent for a in read.tile), Dim.constant(self.lanes.count))
                read.staged = self.builder.add(Alloc(BufferType(kind, extents, "register"))).result
                with self._tile(read.tile) as rename:
                    value = self._load(read, {**self.folding, **rename})
                    self.builder.add(Store(value, self._register(read.staged, read.tile, rename)))

    def _fetch(self, reads: Sequence[_Planned], depth: int, rename: Mapping[str, Dim], everything: bool) -> None:
        """Inside `depth` of the tile's loops: loads what lives at this depth."""
        for read in reads:
            if read.staged is not None:
                if depth == len(self.tile):
                    source = self._register(read.staged, read.tile, rename)
                    read.loaded[depth] = self.builder.add(Load(source, None, self.lanes.count)).result
            elif len(read.tile) == depth and (read.tile or everything):
                read.loaded[depth] = self._load(read, rename)

    def _register(self, buffer: Value, axes: Sequence[Axis], rename: Mapping[str, Dim]) -> Access:
        indices = tuple(Dim.symbol(a.name).substitute(rename) for a in axes)
        return Access(buffer, AccessMap((*indices, Dim.constant(0))))

    @contextmanager
    def _over_tile(
        self, reads: Sequence[_Planned], *, everything: bool
    ) -> Iterator[tuple[dict[str, Dim], list[Value]]]:
        """Opens all register loops, loading on the way in; gives the renaming and the reads' values."""
        with self._deeper(reads, 0, dict(self.folding), everything) as rename:
            yield rename, [r.loaded[max(r.loaded)] for r in reads]

    @contextmanager
    def _deeper(
        self, reads: Sequence[_Planned], depth: int, rename: dict[str, Dim], everything: bool
    ) -> Iterator[dict[str, Dim]]:
        self._fetch(reads, depth, rename, everything)
        if depth == len(self.tile):
            yield rename
            return
        with (
            self._tile(self.tile[depth : depth + 1]) as more,
            self._deeper(reads, depth + 1, {**rename, **more}, everything) as full,
        ):
            yield full

    # ---- whole tiles -------------------------------------------------------------------------------------

    def _in_versions(self, emit: Callable[[], None]) -> None:
        """Emits twice: for tiles that lie inside the domain as a whole, without masks and tests, and for the others."""
        restricted = (*self.conditions.tile, *self.conditions.lanes)
        if not restricted:
            emit()
            return
        whole, part = Region(), Region()
        self.builder.add(If(None, tuple(self._at_worst(c) for c in restricted), whole, part))
        conditions, clamps = self.conditions, self.clamps
        self.conditions, self.clamps = replace(conditions, tile=(), lanes=()), {}
        with self.builder.at(whole.block):
            emit()
        self.conditions, self.clamps = conditions, clamps
        self.folding = self._fresh(self.reductions)
        with self.builder.at(part.block):
            emit()

    def _at_worst(self, condition: Dim) -> Dim:
        """The condition at the corner of the tile where it is smallest."""
        corner: dict[str, DimLike] = {}
        sides = [(a.name, a.extent - 1) for a in self.tile]
        if self.lanes.axis is not None:
            sides.append((self.lanes.axis, Dim.constant(self.lanes.count - 1)))
        for name, last in sides:
            if name in condition.symbols:
                corner[name] = last if linear_in(condition, name)[0] < 0 else 0
        return condition.substitute(corner)

    # ---- map and reduce ----------------------------------------------------------------------------------

    def _map(self, op: Map) -> None:
        reads = self._plan(op.reads)
        for read in reads:
            read.tile = self.tile[: _depth(read.tile, self.tile)]
        with self._over_tile(reads, everything=True) as (rename, values):
            results = write_region(self.builder, op.body, values, rename, self.lanes, self.facts)
            self._write(op.writes, results, rename)

    def _reduce(self, op: Reduce) -> None:
        extents = (*(a.extent for a in self.tile), Dim.constant(self.lanes.count))
        state = [
            self.builder.add(Alloc(BufferType(e.dtype, extents, "register")), "acc").result for e in op.accumulators
        ]
        with self._over_tile((), everything=True) as (rename, _):
            start = write_region(self.builder, op.init, [], rename, self.lanes, self.facts)
            self._keep(state, start, rename)
        if any(r.masked for r in self._plan(op.reads)):
            self._in_versions(lambda: self._fold_and_finish(op, state, self._finish))
        else:
            self._fold_and_finish(op, state, lambda *given: self._in_versions(lambda: self._finish(*given)))

    def _fold_and_finish(
        self, op: Reduce, state: Sequence[Value], finish: Callable[[Reduce, Sequence[Value]], None]
    ) -> None:
        reads = self._plan(op.reads)
        self._stage(reads, 0)
        with self._reduction_loops(reads, 0), self._over_tile(reads, everything=False) as (rename, values):
            held = self._recall(state, rename)
            stepped = write_region(self.builder, op.step, [*values, *held], rename, self.lanes, self.facts)
            self._keep(state, stepped, rename)
        finish(op, state)

    def _finish(self, op: Reduce, state: Sequence[Value]) -> None:
        late = self._plan(op.late)
        for read in late:
            read.tile = self.tile[: _depth(read.tile, self.tile)]
        with self._over_tile(late, everything=True) as (rename, values):
            held = self._recall(state, rename)
            results = write_region(self.builder, op.finish, [*held, *values], rename, self.lanes, self.facts)
            self._write(op.writes, results, rename)

    @contextmanager
    def _reduction_loops(self, reads: Sequence[_Planned], opened: int) -> Iterator[None]:
        if opened == len(self.reductions):
            yield
            return
        axis = self.reductions[opened]
        name = str(self.folding.get(axis.name, axis.name))
        loop = Axis(name, axis.kind, axis.extent.substitute(self.folding))
        with loops(self.builder, [loop]), guarded(self.builder, self._decided(opened + 1)):
            self._stage(reads, opened + 1)
            with self._reduction_loops(reads, opened + 1):
                yield

    def _decided(self, opened: int) -> list[Dim]:
        """The conditions on reductions that the innermost of the open ones decides: nothing is read without them."""
        inside = {a.name for a in self.reductions[opened:]}
        here = self.reductions[opened - 1].name
        deepest = [c for c in self.conditions.reduction if not inside & set(c.symbols)]
        return [c.substitute(self.folding) for c in deepest if here in c.symbols]

    def _keep(self, state: Sequence[Value], values: Sequence[Value], rename: Mapping[str, Dim]) -> None:
        for buffer, value in zip(state, values, strict=True):
            wide = broadcast(self.builder, value, self.lanes.count)
            self.builder.add(Store(wide, self._register(buffer, self.tile, rename)))

    def _recall(self, state: Sequence[Value], rename: Mapping[str, Dim]) -> list[Value]:
        return [
            self.builder.add(Load(self._register(b, self.tile, rename), None, self.lanes.count), "acc").result
            for b in state
        ]

    def _write(self, writes: Sequence[Access], values: Sequence[Value], rename: Mapping[str, Dim]) -> None:
        conditions = [c.substitute(rename) for c in self.conditions.lanes]
        with guarded(self.builder, [c.substitute(rename) for c in self.conditions.tile]):
            mask = holds(self.builder, conditions, self.lanes, self.facts) if conditions else None
            if mask is not None:
                mask = broadcast(self.builder, mask, self.lanes.count)
            for access, value in zip(writes, values, strict=True):
                map, steps = split(access.map.substitute(rename), self.lanes)
                wide = broadcast(self.builder, value, self.lanes.count)
                self.builder.add(Store(wide, Access(access.value, map), mask, packed(steps, self.lanes.count)))


def _depth(mentioned: Sequence[Axis], tile: Sequence[Axis]) -> int:
    """How many of the tile's loops must be open for all mentioned axes to have a value."""
    return max((tile.index(a) + 1 for a in mentioned), default=0)


def realize(op: Structured, builder: Builder, facts: Facts, names: Names) -> None:
    """Emits `op` as loops at `builder`.  Raises PassError where its axes allow no loop nest."""
    kind = Strips if has_strips(op) else Nest
    kind(op, builder, facts, names).build()
