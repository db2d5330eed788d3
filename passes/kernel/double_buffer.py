"""kernel.double-buffer: copy what the next iteration of a loop reads while this one computes.

Before (as `kernel.stage-shared` leaves it):
    %tile = kernel.alloc {type = buffer<f32[64, 16], shared>}
    kernel.parallel (ty: thread 16, tx: thread 16) {
      kernel.for (k_o: sequential 48) {
        kernel.map (c: parallel 4) reads(%x[..., k_o*16 + ...] else 0.0) writes(%tile[i, k]) ...
        kernel.barrier
        kernel.map (k_i: sequential 16, ...) reads(%tile[ty*4 + i, k_i], ...) ...
        kernel.barrier
After `kernel.double-buffer{func=f axis=k_o}`:
    %tile = kernel.alloc {type = buffer<f32[2, 64, 16], shared>}
    kernel.parallel (ty: thread 16, tx: thread 16) {
      kernel.if {where = [48 - 1]} {
        kernel.map (c: parallel 4) reads(%x[..., 0*16 + ...] else 0.0) writes(%tile[0, i, k]) ...
      }
      kernel.for (k_o: sequential 48) {
        kernel.barrier
        kernel.if {where = [48 - 2 - k_o]} {
          kernel.map (c_1: parallel 4) reads(%x[..., (k_o + 1)*16 + ...] else 0.0)
              writes(%tile[(k_o + 1) mod 2, i, k]) ...
        }
        kernel.map (k_i: sequential 16, ...) reads(%tile[k_o mod 2, ty*4 + i, k_i], ...) ...

One barrier an iteration is enough: behind it the copies of the iteration before are there, and nobody reads any more
what they go over next.  Refuses: a loop of another form, and tiles that something else uses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.access import Access, AccessMap
from headrace.ir.core import Region, Value, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Barrier, For, If
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.passes.lowering.axes import kernel_named
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class DoubleBuffer(Pass):
    """`func`: the kernel; `axis`: the loop's axis."""

    func: str
    axis: str

    summary = "copy what the next iteration of a loop reads while this one computes"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        loop = next((o for o in walk(function, For) if o.axis.name == self.axis), None)
        if loop is None:
            raise PassError(f"kernel.double-buffer: @{self.func} has no loop over {self.axis}")
        body = loop.body.block.operations
        if len(body) < 4:
            raise PassError(
                f"kernel.double-buffer: the loop over {self.axis} is not copies, then one operation on them"
            )
        *copies, before, work, after = body
        tiles = [c.writes[0].value for c in copies if isinstance(c, Map) and len(c.writes) == 1]
        fits = isinstance(before, Barrier) and isinstance(work, Map) and isinstance(after, Barrier)
        if not fits or not copies or len(tiles) < len(copies) or not all(_only_in(t, loop) for t in tiles):
            raise PassError(
                f"kernel.double-buffer: the loop over {self.axis} is not copies, then one operation on them"
            )
        assert isinstance(work, Map)
        names, now = Names(function), Dim.symbol(self.axis)
        doubled = {t: self._double(t, rewriter) for t in tiles}
        first, following = Region(), Region()
        if isinstance(loop.parent_op, For):
            rewriter.before(loop).add(Barrier())  # or the first copies go over what the round before still reads
        rewriter.before(loop).add(If(None, (loop.axis.extent - 1,), first, Region()))
        rewriter.before(work).add(If(None, (loop.axis.extent - 2 - now,), following, Region()))
        for copy in copies:
            assert isinstance(copy, Map)
            for region, step in ((first, Dim.constant(0)), (following, now + 1)):
                _copy(copy, Builder(region.block, None, copy.location), {self.axis: step}, step % 2, doubled, names)
            rewriter.erase(copy)
        rewriter.erase(after)
        for number, read in enumerate(work.reads):
            if read.value in doubled:
                maps = [a.map for a in work.reads]
                maps[number] = AccessMap((now % 2, *read.map.indices))
                rewriter.set_attribute(work, "reads", tuple(maps))
                rewriter.set_operand(work, number, doubled[read.value])
        for tile in tiles:
            rewriter.erase(_alloc(tile))

    def _double(self, tile: Value, rewriter: Rewriter) -> Value:
        alloc = _alloc(tile)
        kind = replace(alloc.type, dims=(Dim.constant(2), *alloc.type.dims))
        return rewriter.before(alloc).add(Alloc(kind), tile.hint).result


def _alloc(tile: Value) -> Alloc:
    operation = getattr(tile, "operation", None)
    if not isinstance(operation, Alloc) or operation.type.space != "shared":
        raise PassError("kernel.double-buffer: a copy goes to what is no tile in shared memory")
    return operation


def _only_in(tile: Value, loop: For) -> bool:
    return all(user.parent is loop.body.block for user in tile.users)


def _copy(
    copy: Map, builder: Builder, now: dict[str, Dim], half: Dim, doubled: dict[Value, Value], names: Names
) -> None:
    """The copy for another iteration, into one half of its tile."""
    fresh = {a.name: names.fresh(a.name) for a in copy.axes}
    values = {**now, **{old: Dim.symbol(new) for old, new in fresh.items()}}
    (read,), (write,) = copy.reads, copy.writes
    source = Access(read.value, read.map.substitute(values))
    target = Access(doubled[write.value], AccessMap((half, *write.map.substitute(values).indices)))
    axes = tuple(replace(a, name=fresh[a.name]) for a in copy.axes)
    where = tuple(c.substitute(values) for c in copy.where)
    builder.add(Map(axes, (source,), (target,), copy.body.clone({}), where))
