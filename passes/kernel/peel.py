"""kernel.peel: give the rows that are left over when tiles do not divide an extent operations of their own.

Before:
    kernel.reduce (i_o: task (m + 5) floordiv 6, k: reduction 768, i_i: unroll 6, v: vector 8)
        reads(%x[i_o*6 + i_i, k], ...) ... {where = [m - 1 - i_o*6 - i_i]}
After `kernel.peel{func=f axis=i_i sizes=[4 2 1]}`:
    kernel.parallel (i_o: task (m + 5) floordiv 6) {
      kernel.if {where = [m - i_o*6 - 6]} { kernel.reduce (k, i_i: unroll 6, v) ... without the condition }
      else {
        kernel.if {where = [(m - i_o*6) mod 8 - 4]} { kernel.reduce (k_1, i_i_1: unroll 4, v_1) ... }
        kernel.if {where = [(m - i_o*6) mod 4 - 2]} { kernel.reduce (k_2, i_i_2: unroll 2, v_2) ... }
        kernel.if {where = [(m - i_o*6) mod 2 - 1]} { kernel.reduce (k_3, i_i_3: unroll 1, v_3) ... }
      }
    }

So no row is computed twice and none needs a test.  `sizes` are the powers of two below the tile, largest first, or
the one remainder that there is, where the extent is a constant.  Needs: the outer axes bound to tasks, or in a kernel
of rows loops.  Does nothing where no condition is on `axis`.  Of several conditions the one is meant that leaves a
constant remainder, the one size; the others stay.  Refuses: sizes that leave a remainder out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.ir.access import Axis
from headrace.ir.core import Region
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import For, If, Parallel
from headrace.ir.kernel.ops.structured import Map, Structured
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.passes.lowering.axes import kernel_named, rewrite_formulas, with_axis
from headrace.passes.lowering.enclosing import enclosing_facts
from headrace.passes.lowering.guards import last_legal
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class Peel(Pass):
    """`func`: the kernel; `axis`: the inner axis of a tile; `sizes`: rows of the smaller operations, largest first."""

    func: str
    axis: str
    sizes: tuple[int, ...]

    summary = "give the rows left over by a tile operations of their own"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        axis = op.axis(self.axis)
        if isinstance(op, Map) and op.lookups:
            raise PassError(f"kernel.peel: {op.name} at {op.location} looks up {op.found[0].name}, which has one name")
        where: tuple[Dim, ...] = op.attributes["where"]
        conditions = [c for c in where if self.axis in c.symbols]
        if not conditions:
            return
        if len(conditions) > 1:
            conditions = [c for c in conditions if axis.extent.is_constant and self._fits(op, axis, c)]
        if len(conditions) != 1 or not axis.extent.is_constant:
            raise PassError(f"kernel.peel: axis {self.axis} has {len(conditions)} conditions, expected one")
        (condition,) = conditions
        rows = last_legal(condition, self.axis) + 1
        outer = _outer_axes(op, rows)
        inner = {a.name for a in op.axes if a not in outer}
        if set(rows.symbols) & inner:
            raise PassError(f"kernel.peel: the condition on {self.axis} mentions {min(set(rows.symbols) & inner)} too")
        tile = axis.extent.value
        self._check_sizes(op, rows, tile)
        names = Names(function)
        builder = rewriter.before(op)
        facts = enclosing_facts(op, function.known)
        for around in outer:
            facts = facts.with_symbol(around.name, Dim.constant(0), around.extent)
        if outer:
            body = Region()
            builder.add(Parallel(outer, body))
            builder = Builder(body.block, None, op.location)
        if facts.less(0, rows) is not True:
            some = Region()
            builder.add(If(None, (rows - 1,), some, Region()))
            builder = Builder(some.block, None, op.location)
        whole, rest = Region(), Region()
        builder.add(If(None, (rows - tile,), whole, rest))
        start = Dim.constant(0)
        same = {a.name: a.name for a in op.axes if a.name in inner}
        rewriter.end_of(whole.block, op.location).add(self._part(op, tile, start, same, condition, rewriter))
        for size in self.sizes:
            inside = rest.block
            if len(self.sizes) > 1:
                then = Region()
                rewriter.end_of(inside, op.location).add(If(None, (rows % (2 * size) - size,), then, Region()))
                inside = then.block
                start = facts.simplify(rows // (2 * size) * (2 * size)) if 2 * size < tile else Dim.constant(0)
            fresh = {a.name: names.fresh(a.name) for a in op.axes if a.name in inner}
            rewriter.end_of(inside, op.location).add(self._part(op, size, start, fresh, condition, rewriter))
        rewriter.erase(op)

    def _fits(self, op: Structured, axis: Axis, condition: Dim) -> bool:
        """Whether a condition says how many rows are left, and they have the one size."""
        remainder = constant_remainder(op, last_legal(condition, self.axis) + 1, axis.extent.value)
        return self.sizes == (remainder,)

    def _check_sizes(self, op: Structured, rows: Dim, tile: int) -> None:
        powers = tuple(1 << n for n in reversed(range((tile - 1).bit_length())))
        remainder = constant_remainder(op, rows, tile)
        if self.sizes != powers and self.sizes != (remainder,):
            wanted = " ".join(map(str, powers)) + ("" if remainder is None else f" or {remainder}")
            raise PassError(f"kernel.peel: sizes are {' '.join(map(str, self.sizes))}, expected {wanted}")

    def _part(
        self, op: Structured, size: int, base: Dim, names: Mapping[str, str], condition: Dim, rewriter: Rewriter
    ) -> Structured:
        """A detached copy over `size` rows from row `base`, with the axes in `names` only, renamed so; the condition
        holds for them."""
        part = op.clone()
        assert isinstance(part, Structured)
        values = {old: Dim.symbol(new) for old, new in names.items()}
        axes = [
            Axis(names[a.name], a.kind, Dim.constant(size) if a.name == self.axis else a.extent.substitute(values))
            for a in op.axes
            if a.name in names
        ]
        where: tuple[Dim, ...] = part.attributes["where"]
        part.attributes["where"] = tuple(c for c in where if c != condition)
        rewrite_formulas(part, rewriter, {**values, self.axis: values[self.axis] + base})
        part.attributes["axes"] = tuple(axes)
        return part


def _outer_axes(op: Structured, rows: Dim) -> tuple[Axis, ...]:
    """The loops around the tile's operations: the tasks; in a kernel of rows, those that the condition mentions."""
    tasks = tuple(a for a in op.axes if a.kind in ("task", "grid"))
    if tasks:
        return tasks
    kinds = [a.kind for a in op.axes]
    loops = op.axes[: next((n for n, k in enumerate(kinds) if k != "parallel"), len(kinds))]
    mentioned = [n for n, a in enumerate(loops) if a.name in rows.symbols]
    return loops[: max(mentioned, default=-1) + 1]


def constant_remainder(op: Structured, rows: Dim, tile: int) -> int | None:
    """How many rows are left for the only tile that is not whole, if that is known."""
    around = [a for p in op.ancestors() if isinstance(p, For | Parallel) for a in p.axes]
    found = [a for a in (*op.axes, *around) if a.name in rows.symbols]
    if len(found) != 1 or not found[0].extent.is_constant or set(rows.symbols) != {found[0].name}:
        return None
    last = found[0].extent.value - 1
    left = rows.substitute({found[0].name: last})
    before = rows.substitute({found[0].name: last - 1})
    return left.value if left.value < tile <= before.value else None
