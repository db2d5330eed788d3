"""The loops around a structured operation, and what a map looks up: each lookup stands as far out as its axes allow.

In: an operation about to be built, its outer axes.  Out: code around what is built next:

    kernel.parallel (t: task n) {
      %i = kernel.load %ids[t] : i64
      %w = kernel.select ...                       // %i + extent where %i is negative
      kernel.check ... values(%i, %extent)         // 0 <= %w < extent
      kernel.let (row: given extent) %w { ... }
    }
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headrace.ir.access import Axis
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.structured import Map, Structured
from headrace.ir.kernel.writer import let
from headrace.ir.rewrite import Builder
from headrace.passes.lowering.loops import guarded, loops


class Around:
    """What stands around the body of one operation.  Raises PassError for a lookup that depends on an inner axis."""

    def __init__(self, op: Structured, outer: Sequence[Axis], builder: Builder) -> None:
        self.op, self.outer, self.builder = op, tuple(outer), builder
        self.needed: list[set[str]] = []  # the axes of each lookup
        if isinstance(op, Map):
            own, inner = {a.name for a in op.axes}, {a.name for a in op.axes} - {a.name for a in outer}
            self.needed = [op.all_symbols_of(access) & own for access in op.lookups]
            for axis, needed in zip(op.found, self.needed, strict=True):
                if needed & inner:
                    what = f"{axis.name} is looked up for each {min(needed & inner)}, which"
                    raise PassError(f"{op.name} at {op.location}: {what} can be no vector, register or inner axis")

    @contextmanager
    def open(self, conditions: Sequence[Dim]) -> Iterator[None]:
        """Opens loops, lookups and a guard.  What is no iteration must look nothing up: with a guard, lookups stand
        behind it."""
        late = list(range(len(self.needed))) if conditions else []
        with self._loops(0, bool(conditions)), guarded(self.builder, conditions), self._looked_up(late):
            yield

    @contextmanager
    def _loops(self, opened: int, late: bool) -> Iterator[None]:
        rest = self.outer[opened:]
        alike = min(len(rest), 1)
        if alike and rest[0].kind not in ("parallel", "sequential"):  # one kernel.parallel may open all of a kind
            alike = next((i for i, a in enumerate(rest) if a.kind != rest[0].kind), len(rest))
        possible = [] if late else self._possible(opened, opened + alike)
        with loops(self.builder, rest[:alike]), self._looked_up(possible):
            if alike == len(rest):
                yield
            else:
                with self._loops(opened + alike, late):
                    yield

    def _possible(self, before: int, now: int) -> list[int]:
        """The lookups all of whose axes are open among the first `now`, and were not among the first `before`."""
        had, have = ({a.name for a in self.outer[:n]} for n in (before, now))
        return [i for i, n in enumerate(self.needed) if n <= have and not (before and n <= had)]

    @contextmanager
    def _looked_up(self, chosen: Sequence[int]) -> Iterator[None]:
        if not chosen:
            yield
            return
        op = self.op
        assert isinstance(op, Map)
        access, axis, node = op.lookups[chosen[0]], op.found[chosen[0]], op.nodes[chosen[0]]
        body = let(self.builder, access, axis, node)
        with self.builder.at(body.block), self._looked_up(chosen[1:]):
            yield


def given_facts(op: Structured, facts: Facts) -> Facts:
    """`facts` with the ranges of what a map looks up."""
    for axis in op.found if isinstance(op, Map) else ():
        facts = facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
    return facts
