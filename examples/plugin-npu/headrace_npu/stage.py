"""kernel.npu-stage: let tiles come and go between memory and the scratchpad, and operations see the scratchpad only.

Before:
    kernel.parallel (i_o: grid (n + 15) floordiv 16) {
      kernel.map (i_i: parallel 16, j: parallel 64) reads(%x[i_o*16 + i_i, j], %b[j]) writes(%y[i_o*16 + i_i, j])
          {where = [n - 1 - i_o*16 - i_i]} ...
After:
    kernel.parallel (i_o: grid (n + 15) floordiv 16) {
      %x_tile = kernel.alloc {type = buffer<f32[16, 64], shared>}
      kernel.map (i_i_0: parallel 16, j_0: parallel 64)
          reads(%x[i_o*16 + i_i_0, j_0] else 0.0) writes(%x_tile[i_i_0, j_0])
      %b_tile = kernel.alloc {type = buffer<f32[64], shared>}
      kernel.map (j_1: parallel 64) reads(%b[j_1] else 0.0) writes(%b_tile[j_1])
      %y_tile = kernel.alloc {type = buffer<f32[16, 64], shared>}
      kernel.map (i_i: parallel 16, j: parallel 64)
          reads(%x_tile[i_i, j], %b_tile[j]) writes(%y_tile[i_i, j]) ...
      kernel.map (i_i_1: parallel 16, j_2: parallel 64)
          reads(%y_tile[i_i_1, j_2]) writes(%y[i_o*16 + i_i_1, j_2]) {where = [n - 1 - i_o*16 - i_i_1]}
    }

So each operation is one instruction, or a few: DMA, matrix or vector.  What lies outside of memory is loaded as 0,
computed with, and not stored.  Needs: axes of constant extents (`kernel.tile`).  Refuses: any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region, Value, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType, ScalarType, element_dtype
from headrace.passes.lowering.axes import kernel_named, zero_of
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class Stage(Pass):
    """`func`: the kernel."""

    func: str

    summary = "let tiles come and go between memory and the scratchpad"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        names = Names(function)
        for op in list(walk(function, Map)):
            for axis in op.axes:
                if not axis.extent.is_constant:
                    raise PassError(f"kernel.npu-stage: axis {axis} of a tile; its extent has to be a constant")
            _stage(op, rewriter, names)


def _stage(op: Map, rewriter: Rewriter, names: Names) -> None:
    before, after = rewriter.before(op), rewriter.after(op)
    operands = list(op.operands)
    reads, writes = list(op.reads), list(op.writes)
    for number, read in enumerate(reads):
        if _is_global(read):
            padded = read.map if read.map.otherwise is not None else replace(read.map, otherwise=zero_of(read.value))
            tile, reads[number] = _tile(before, op, read)
            before.add(_copy(op, Access(read.value, padded), reads[number], (), names))
            operands[number] = tile
    for number, write in enumerate(writes):
        if _is_global(write):
            tile, writes[number] = _tile(before, op, write)
            after.add(_copy(op, writes[number], write, op.where, names))
            operands[len(reads) + number] = tile
            rewriter.set_attribute(op, "where", ())
    for number, value in enumerate(operands):
        rewriter.set_operand(op, number, value)
    rewriter.set_attribute(op, "reads", tuple(r.map for r in reads))
    rewriter.set_attribute(op, "writes", tuple(w.map for w in writes))


def _is_global(access: Access) -> bool:
    kind = access.value.type
    return isinstance(kind, BufferType) and kind.space == "global"


def _tile(builder: Builder, op: Map, access: Access) -> tuple[Value, Access]:
    """Room in the scratchpad for what an access touches, and how the operation finds it there."""
    axes = _moving(op, access)
    kind = BufferType(element_dtype(access.value.type), tuple(a.extent for a in axes), "shared")
    tile = builder.add(Alloc(kind), f"{access.value.hint or 'value'}_tile").result
    return tile, Access(tile, AccessMap(tuple(Dim.symbol(a.name) for a in axes)))


def _moving(op: Map, access: Access) -> list[Axis]:
    mentioned = {s for index in access.map.indices for s in index.symbols}
    return [a for a in op.axes if a.name in mentioned]


def _copy(op: Map, source: Access, target: Access, where: tuple[Dim, ...], names: Names) -> Map:
    """The same elements, one by one, over axes of its own."""
    axes = [a for a in op.axes if a in _moving(op, source) or a in _moving(op, target)]
    own = {a.name: names.fresh(a.name) for a in axes}
    fresh = {name: Dim.symbol(other) for name, other in own.items()}
    block = Block([ScalarType(element_dtype(source.value.type))])
    Builder(block, None, op.location).add(Yield((block.arguments[0],)))
    return Map(
        tuple(Axis(own[a.name], "parallel", a.extent) for a in axes),
        (Access(source.value, source.map.substitute(fresh)),),
        (Access(target.value, target.map.substitute(fresh)),),
        Region(block),
        tuple(c.substitute(fresh) for c in where),
    )
