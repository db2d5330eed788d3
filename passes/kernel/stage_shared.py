"""kernel.stage-shared: let the threads of a workgroup copy what an operation reads into shared memory first.

Before:
    kernel.parallel (gy: grid m floordiv 64, gx: grid 12) {
      kernel.parallel (ty: thread 16, tx: thread 16) {
        kernel.for (k_o: sequential 48) {
          kernel.map (k_i: sequential 16, i: unroll 4, j: vector 4)
              reads(%x[gy*64 + ty*4 + i, k_o*16 + k_i], %w[k_o*16 + k_i, gx*64 + tx*4 + j], %acc[i, j]) ...
After `kernel.stage-shared{func=f axis=k_i reads=[0 1]}`:
    kernel.parallel (gy: grid m floordiv 64, gx: grid 12) {
      %tile = kernel.alloc {type = buffer<f32[64, 16], shared>}
      %tile_1 = kernel.alloc {type = buffer<f32[16, 64], shared>}
      kernel.parallel (ty: thread 16, tx: thread 16) {
        kernel.for (k_o: sequential 48) {
          kernel.map (c: unroll 4) reads(%x[gy*64 + e floordiv 16, k_o*16 + e mod 16] else 0.0)
              writes(%tile[e floordiv 16, e mod 16]) ...                    // e = c*256 + ty*16 + tx
          kernel.map (c_1: unroll 4) reads(%w[...] else 0.0) writes(%tile_1[...]) ...
          kernel.barrier
          kernel.map (k_i: sequential 16, i: unroll 4, j: vector 4)
              reads(%tile[ty*4 + i, k_i], %tile_1[k_i, tx*4 + j], %acc[i, j]) ...
          kernel.barrier

A tile is the box around what all threads read, without what every one of them skips; neighbouring threads copy
neighbouring elements, or with `lanes` vectors of them where the rows of the tile divide into such.  The dim that the
operation's lanes move along becomes the tile's last.  With `widen`, a 16-bit float that the operation only takes as f32
is cast as it is copied, once for all threads that read it; a matrix unit wants it as it is.  Needs: an operation in a
loop over threads, which every thread comes to: nothing but loops between them.  Refuses: indices that are not linear in
the axes of the operation and the threads, with factors of 0 or more, or such axes whose extents are no constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Barrier, For, Parallel, Yield
from headrace.ir.kernel.ops.convert import Cast
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import F32, BufferType, DType, ScalarType, element_dtype
from headrace.passes.lowering.axes import kernel_named, with_axis, zero_of
from headrace.passes.lowering.boxes import box
from headrace.passes.lowering.names import Names

WRITTEN_OUT = 8  # most copies of a thread that stand one behind the other, so that all are under way at once


@dataclass(frozen=True)
class StageShared(Pass):
    """`func`: the kernel; `axis`: an axis of one of its maps; `reads`: which of its reads; `lanes`: most elements
    that a thread copies at once; `widen`: copy f16 and bf16 as f32."""

    func: str
    axis: str
    reads: tuple[int, ...]
    lanes: int = 1
    widen: bool = False

    summary = "let the threads of a workgroup copy what an operation reads into shared memory first"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        if not isinstance(op, Map) or not all(0 <= n < len(op.reads) for n in self.reads):
            raise PassError(f"kernel.stage-shared: reads {list(self.reads)} of {op.name} with axis {self.axis}")
        threads = self._threads(op)
        names = Names(function)
        before, outside = rewriter.before(op), rewriter.before(threads)
        lane = next((a.name for a in op.axes if a.kind == "vector"), None)
        for number in self.reads:
            dtype = self._cast_before(op, number, rewriter)
            tile = _Tile(op.reads[number], dtype, (*threads.axes, *op.axes), lane)
            buffer = outside.add(Alloc(BufferType(dtype, tile.extents, "shared")), "tile").result
            before.add(tile.copy(buffer, threads.axes, self.lanes, names))
            maps = [a.map for a in op.reads]
            maps[number] = AccessMap(tile.inside)
            rewriter.set_attribute(op, "reads", tuple(maps))
            rewriter.set_operand(op, number, buffer)
        before.add(Barrier())
        rewriter.after(op).add(Barrier())

    def _cast_before(self, op: Map, number: int, rewriter: Rewriter) -> DType:
        """The type that the tile of a read has; what cast to it in the operation is gone."""
        argument = op.body.block.arguments[number]
        own = element_dtype(argument.type)
        casts = [user for user in argument.users if isinstance(user, Cast) and user.dtype == F32]
        if not self.widen or not own.is_half or not casts or len(casts) < len(argument.users):
            return own
        for cast in casts:
            rewriter.replace(cast, [argument])
        argument.type = ScalarType(F32)
        return F32

    def _threads(self, op: Map) -> Parallel:
        """The loop over threads around `op`."""
        for above in op.ancestors():
            if isinstance(above, Parallel) and all(a.kind == "thread" for a in above.axes):
                return above
            if not isinstance(above, For):
                break
        raise PassError(f"kernel.stage-shared: not every thread comes to the operation with axis {self.axis}")


class _Tile:
    """The elements that all threads of a workgroup read together."""

    def __init__(self, read: Access, dtype: DType, local: Sequence[Axis], lane: str | None) -> None:
        self.read, self.dtype = read, dtype
        self.boxes = [box(index, local) for index in read.map.indices]
        self.size = prod(b.extent for b in self.boxes)
        moved = [n for n, b in enumerate(self.boxes) if lane in b.inside.symbols]
        last = moved if len(moved) == 1 else []
        self.order = [*(n for n in range(len(self.boxes)) if n not in last), *last]  # so that lanes lie side by side
        self.extents = tuple(Dim.constant(self.boxes[n].extent) for n in self.order)
        self.inside = tuple(self.boxes[n].inside for n in self.order)

    def copy(self, buffer: Value, threads: Sequence[Axis], most: int, names: Names) -> Map:
        """All threads together, vectors of up to `most` elements of a row each."""
        lanes = gcd(self.boxes[-1].extent, most) if self.boxes[-1].step == 1 else 1
        flat = Dim.constant(0)
        for axis in threads:
            flat = flat * axis.extent + Dim.symbol(axis.name)
        together, vectors = prod(a.extent.value for a in threads), self.size // lanes
        turn = Axis(names.fresh("c"), "parallel", ceildiv(Dim.constant(vectors), together))
        if turn.extent.value <= WRITTEN_OUT:
            turn = replace(turn, kind="unroll")
        lane = Axis(names.fresh("v"), "vector", Dim.constant(lanes))
        vector = flat if turn.extent == 1 else Dim.symbol(turn.name) * together + flat
        where = (vectors - 1 - vector,) if vectors % together else ()
        counts = [*(b.extent for b in self.boxes[:-1]), self.boxes[-1].extent // lanes]
        index, rest = list[Dim](), vector
        for count in reversed(counts[1:]):
            index.insert(0, rest % count)
            rest = rest // count
        index.insert(0, rest)
        if lanes > 1:
            index[-1] = index[-1] * lanes + Dim.symbol(lane.name)
        otherwise = zero_of(self.read.value) if self.read.map.otherwise is None else self.read.map.otherwise
        source = AccessMap(tuple(b.start + i * b.step for b, i in zip(self.boxes, index, strict=True)), otherwise)
        own = element_dtype(self.read.value.type)
        block = Block([ScalarType(own)], [self.read.value.hint])
        builder, (value,) = Builder(block), block.arguments
        builder.add(Yield((value if own == self.dtype else builder.add(Cast(value, self.dtype)).result,)))
        target = Access(buffer, AccessMap(tuple(index[n] for n in self.order)))
        axes = (turn, lane) if lanes > 1 else (turn,)
        return Map(axes, (Access(self.read.value, source),), (target,), Region(block), where)
