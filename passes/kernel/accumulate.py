"""kernel.accumulate: keep what a reduction sums up in registers, so that its loops may hold more than the sum.

Before, in a loop over threads:
    kernel.reduce (k_o: reduction 48, k_i: reduction 16, i: unroll 4, j: vector 4)
        reads(%x[ty*4 + i, k_o*16 + k_i], %w[k_o*16 + k_i, tx*4 + j]) late(%b[tx*4 + j]) writes(%y[ty*4 + i, tx*4 + j])
        {where = [m - 1 - ty*4 - i]}
After `kernel.accumulate{func=f axes=[k_o]}`:
    %acc = kernel.alloc {type = buffer<f32[4, 4], register>}
    kernel.map (i_0: unroll 4, j_0: vector 4) writes(%acc[i_0, j_0]) {...init...}
    kernel.for (k_o: sequential 48) {
      kernel.map (k_i: sequential 16, i: unroll 4, j: vector 4)
          reads(%x[...] else 0.0, %w[...], %acc[i, j]) writes(%acc[i, j]) {...step...}
    }
    kernel.map (i_1: unroll 4, j_1: vector 4) reads(%acc[i_1, j_1], %b[tx*4 + j_1]) writes(%y[...]) {...finish...}
        {where = [m - 1 - ty*4 - i_1]}

Points that do not exist are summed up too, from zeros, and not stored: so every thread goes through all of the loop
and meets the others at its barriers.  The order of the sums stays.  Refuses: axes that are not the operation's first
ones or no reductions; results whose extents are no constants; conditions that tie a reduction to a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.ir.access import REDUCTIONS, Access, AccessMap, Axis
from headrace.ir.core import Region, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.axes import kernel_named, rewrite_formulas, with_axis, zero_of
from headrace.passes.lowering.loops import loops
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class Accumulate(Pass):
    """`func`: the kernel; `axes`: the first axes of one of its reductions, in order, which become loops."""

    func: str
    axes: tuple[str, ...]

    summary = "keep what a reduction sums up in registers, so that its loops may hold more than the sum"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if not self.axes:
            raise PassError("kernel.accumulate: axes are none, expected one or more")
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axes[0])
        if not isinstance(op, Reduce):
            raise PassError(f"kernel.accumulate: {self.axes[0]} is an axis of {op.name}, expected kernel.reduce")
        _Parts(self, function, op, rewriter).write()
        rewriter.erase(op)


_IN_ORDER = {"reduction": "sequential", "reduction_unroll": "sequential_unroll"}


class _Parts:
    """What becomes of one reduction."""

    def __init__(self, options: Accumulate, function: KernelFunc, op: Reduce, rewriter: Rewriter) -> None:
        self.op, self.rewriter, self.builder = op, rewriter, rewriter.before(op)
        self.names = Names(function)
        self.loops = op.axes[: len(options.axes)]
        inner = op.axes[len(self.loops) :]
        if tuple(a.name for a in self.loops) != options.axes or any(a.kind != "reduction" for a in self.loops):
            found = ", ".join(str(a) for a in op.axes)
            raise PassError(
                f"kernel.accumulate: {' '.join(options.axes)} of {found}; expected its first, reductions all"
            )
        self.summed = tuple(a for a in inner if a.kind in REDUCTIONS)
        self.tile = tuple(a for a in inner if a.kind not in REDUCTIONS)
        if not all(a.extent.is_constant for a in self.tile) or any(a.kind not in _IN_ORDER for a in self.summed):
            found = ", ".join(str(a) for a in inner)
            raise PassError(f"kernel.accumulate: the sums run over {found}; expected reductions, and constants besides")
        reduced = {a.name for a in (*self.loops, *self.summed)}
        self.ties = tuple(c for c in op.where if reduced & set(c.symbols))
        self.exist = tuple(c for c in op.where if not reduced & set(c.symbols))
        tile = {a.name for a in self.tile}
        for condition in self.ties:
            if tile & set(condition.symbols):
                raise PassError(f"kernel.accumulate: {condition} >= 0 ties a reduction to a result")
        scalars = set(function.scalars)
        self.partial = {s for c in self.exist for s in c.symbols} - scalars

    def write(self) -> None:
        op, builder = self.op, self.builder
        extents = tuple(a.extent for a in self.tile) or (Dim.constant(1),)
        kinds = [BufferType(e.dtype, extents, "register") for e in op.accumulators]
        state = [builder.add(Alloc(kind), "acc").result for kind in kinds]
        names = self._fresh()
        self._map(builder, self._tile(names), (), _at(state, self.tile, names), op.init, (), names)
        with loops(builder, self.loops):
            same = {a.name: Dim.symbol(a.name) for a in self.tile}
            own = _at(state, self.tile, same)
            axes = (*(replace(a, kind=_IN_ORDER[a.kind]) for a in self.summed), *self.tile)
            reads = (*(self._padded(r) for r in op.reads), *own)
            self._map(builder, axes, reads, own, op.step, self.ties, {})
        names = self._fresh()
        late, writes = ([Access(a.value, a.map.substitute(names)) for a in group] for group in (op.late, op.writes))
        exist = [c.substitute(names) for c in self.exist]
        reads = (*_at(state, self.tile, names), *late)
        self._map(builder, self._tile(names), reads, tuple(writes), op.finish, exist, names)

    def _fresh(self) -> dict[str, Dim]:
        return {a.name: Dim.symbol(self.names.fresh(a.name)) for a in self.tile}

    def _tile(self, names: Mapping[str, Dim]) -> tuple[Axis, ...]:
        return tuple(replace(a, name=str(names[a.name])) for a in self.tile)

    def _map(
        self,
        builder: Builder,
        axes: Sequence[Axis],
        reads: Sequence[Access],
        writes: Sequence[Access],
        body: Region,
        where: Sequence[Dim],
        names: Mapping[str, Dim],
    ) -> None:
        added = builder.add(Map(tuple(axes), tuple(reads), tuple(writes), body.clone({}), tuple(where)))
        if names:
            for inner in added.body.block.operations:
                rewrite_formulas(inner, self.rewriter, names)

    def _padded(self, read: Access) -> Access:
        """Where a result may not exist, what it would be made of need not either."""
        mentioned = {s for d in read.map.indices for s in d.symbols}
        if read.map.otherwise is not None or not mentioned & self.partial:
            return read
        return Access(read.value, replace(read.map, otherwise=zero_of(read.value)))


def _at(state: Sequence[Value], tile: Sequence[Axis], names: Mapping[str, Dim]) -> tuple[Access, ...]:
    index = tuple(names[a.name] for a in tile) or (Dim.constant(0),)
    return tuple(Access(buffer, AccessMap(index)) for buffer in state)
