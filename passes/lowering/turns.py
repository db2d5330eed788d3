"""graph.loop becomes program.loop.

In: a loop, its body, the buffers of what it takes.  Out: operations of the program, and the buffers of its results.

Carried values lie in buffers that are there before the loop, so that all turns find them at one place.  A turn makes
the next ones beside them, and these are copied back at its end: not before, since whatever reads the old ones has to be
done.  What has one size in all turns lies in the arena; what turns make larger in a `program.state`, and so do rows
that are appended where nobody knows how many there will be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim, dim_min
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.loop import OTHER_SIZE, Loop, body_results, moved_dims, row_sizes
from headrace.ir.program.ops.program import Alloc, Check, Copy, Next, Read, State, View
from headrace.ir.program.ops.program import Loop as ProgramLoop
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType, TensorType
from headrace.passes.lowering.names import Names

ZERO, ONE = Dim.constant(0), Dim.constant(1)
# Writes a function out: from buffers of its parameters to those of its results, new ones where None is given.
Inline = Callable[[GraphFunc, Sequence[Value], Sequence[Value | None], Dim | None], Sequence[Value]]


@dataclass(frozen=True)
class Turns:
    """One loop; nothing of it happens where `when` is -1."""

    loop: Loop
    function: GraphFunc
    builder: Builder
    names: Names
    when: Dim | None
    guard: Callable[[BufferType], Dim | None]

    def lower(
        self, given: Sequence[Value], begins: str | None, known: Set[str], inline: Inline
    ) -> Mapping[Value, Value]:
        """The buffers of the results.  `given`: of what the body takes; `begins`: the symbol of the condition; `known`:
        symbols that are known when a turn begins."""
        loop, results = self.loop, self.function.block.terminator.operands
        first = 0 if begins is None else 1
        carried = [tensor(p) for p in self.function.parameters[len(loop.captures) :]]
        after, rows = body_results(loop, [tensor(o) for o in results])
        moved, sizes = moved_dims(loop, carried, after), row_sizes(loop, rows)
        symbols = [loop.turn, *loop.symbols, *loop.sizes]
        starts = [ZERO, *(moved[s][0] for s in loop.symbols), *[ZERO] * len(sizes)]
        nexts = [Dim.symbol(loop.turn) + 1, *(moved[s][1] for s in loop.symbols), *(sizes[s] for s in loop.sizes)]
        condition = ZERO
        if begins is not None:
            symbols.append(self.names.fresh(f"{loop.turn}_goes_on"))
            starts.append(Dim.symbol(begins))
            condition = Dim.symbol(symbols[-1]) - 1
        homes = [self._home(b, k) for b, k in zip(given[len(loop.captures) :], carried, strict=True)]
        stacks = [self._stack(k) for k in loop.rows]
        body = Block()
        location = self.builder.location
        with self.builder.at(body):
            taken = [*given[: len(loop.captures)], *(self._part(h, k) for h, k in zip(homes, carried, strict=True))]
            # A size that the body reads is known behind it only: then the row is made elsewhere, to be copied.
            early = [{s for d in k.dims for s in d.symbols} <= known for k in rows]
            places = [self._row(s, k) if e else None for s, k, e in zip(stacks, rows, early, strict=True)]
            made = inline(self.function, taken, [*[None] * (first + len(homes)), *places], None)
            self.builder.location = location
            for home, kind, new in zip(homes, after, made[first:], strict=False):
                self.builder.add(Copy(new, self._part(home, kind)))
            for symbol, size in sizes.items():
                self._check_size(Dim.symbol(symbol) - size)
            for stack, kind, new, place in zip(stacks, rows, made[first + len(homes) :], places, strict=True):
                if place is None:
                    self.builder.add(Copy(new, self._row(stack, kind)))
            if first:
                nexts.append(Dim.symbol(self.names.fresh(f"{loop.turn}_then")))
                self.builder.add(Read(made[0], 0, nexts[-1].symbols[0], ZERO, ONE))
            self.builder.add(Next(tuple(nexts)))
        go = condition if self.when is None else dim_min(condition, self.when)
        self.builder.add(ProgramLoop(tuple(symbols), tuple(starts), loop.limit, go, Region(body)))
        kinds = [tensor(r) for r in loop.results]
        found = [self._part(b, k, ZERO, self.when) for b, k in zip([*homes, *stacks], kinds, strict=True)]
        return dict(zip(loop.results, found, strict=True))

    def _check_size(self, more: Dim) -> None:
        """In all turns but the first: `more` is 0."""
        later = dim_min(Dim.symbol(self.loop.turn), 1)
        self.builder.add(Check((more * later, -more * later), OTHER_SIZE))

    def _home(self, first: Value, kind: TensorType) -> Value:
        """Where a carried value lies, with what the first turn finds."""
        start = first.type
        assert isinstance(start, BufferType)
        own = BufferType(start.dtype, start.dims, "arena")
        if start.dims == kind.dims:
            made = self.builder.add(Alloc(own, None, self.guard(own))).result
        else:
            made = self.builder.add(State(own)).result
        self.builder.add(Copy(first, made, self.when))
        return made

    def _stack(self, row: TensorType) -> Value:
        """Where the rows of all turns lie, one behind the other."""
        if self.loop.condition is not None or set(self.loop.sizes) & {s for d in row.dims for s in d.symbols}:
            return self.builder.add(State(BufferType(row.dtype, (ZERO,), "arena"))).result
        kind = BufferType(row.dtype, (self.loop.limit, *row.dims), "arena")
        return self.builder.add(Alloc(kind, None, self.guard(kind))).result

    def _row(self, stack: Value, kind: TensorType) -> Value:
        """Where this turn's row lies."""
        return self._part(stack, kind, Dim.symbol(self.loop.turn) * buffer_of(kind).bytes)

    def _part(self, buffer: Value, kind: TensorType, offset: Dim = ZERO, when: Dim | None = None) -> Value:
        """A buffer as one for a tensor of that type."""
        wanted = buffer_of(kind)
        if buffer.type == wanted:
            return buffer
        guard = None if when is None else self.guard(wanted)
        return self.builder.add(View(buffer, wanted, offset, guard)).result


def buffer_of(kind: TensorType) -> BufferType:
    """In the arena, without gaps."""
    return BufferType(kind.dtype, kind.dims, "arena")
