"""kernel.stage: copy what an operation of a kernel of rows reads into scratch first.

Before:
    kernel.parallel (i: task m) {
      kernel.reduce (j: parallel n, k: reduction 64) reads(%q[i, k], %w[j, k]) writes(%s[j]) ...
    }
After `kernel.stage{func=f axis=k read=0}`:
    kernel.parallel (i: task m) {
      %0 = kernel.alloc {type = buffer<f32[64], stack>}
      kernel.map (k_s: parallel 64) reads(%q[i, k_s]) writes(%0[k_s]) ...
      kernel.reduce (j: parallel n, k: reduction 64) reads(%0[k], %w[j, k]) writes(%s[j]) ...
    }

With `kernel.block-rows` behind it, the copy has the rows of a task in the order in which they become lanes.  Leaves:
for each of the operation's axes that the read mentions an axis `NAME_s` of the copy.  Refuses: an operation outside of
a kernel of rows, padded reads, and axes whose extents depend on other axes.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Parallel, Yield
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType, ScalarType
from headrace.passes.lowering.axes import kernel_named, with_axis
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class Stage(Pass):
    """`func`: the kernel; `axis`: an axis of the operation; `read`: which of its reads."""

    func: str
    axis: str
    read: int

    summary = "copy what an operation of a kernel of rows reads into scratch first"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        if not isinstance(op, Map | Reduce) or not isinstance(op.parent_op, Parallel):
            raise PassError(f"kernel.stage: the operation with axis {self.axis} is in no kernel of rows")
        if not 0 <= self.read < len(op.reads):
            raise PassError(f"kernel.stage: read {self.read} of {len(op.reads)}")
        source = op.reads[self.read]
        mentioned = {s for d in source.map.indices for s in d.symbols}
        axes = [a for a in op.axes if a.name in mentioned]
        own = {a.name for a in op.axes}
        if source.map.otherwise is not None or any(own & set(a.extent.symbols) for a in axes):
            raise PassError(f"kernel.stage: read {self.read} is padded, or its axes depend on others")
        kind = source.value.type
        assert isinstance(kind, BufferType)
        builder = rewriter.before(op)
        scratch = builder.add(Alloc(BufferType(kind.dtype, tuple(a.extent for a in axes), "stack"))).result
        names = Names(function)
        fresh = {a.name: names.fresh(f"{a.name}_s") for a in axes}
        copied = tuple(Axis(fresh[a.name], "parallel", a.extent) for a in axes)
        block = Block([ScalarType(kind.dtype)], [source.value.hint])
        Builder(block, None, op.location).add(Yield((block.arguments[0],)))
        read = Access(source.value, source.map.substitute({n: Dim.symbol(f) for n, f in fresh.items()}))
        write = Access(scratch, AccessMap(tuple(Dim.symbol(a.name) for a in copied)))
        builder.add(Map(copied, (read,), (write,), Region(block)))
        maps = [a.map for a in op.reads]
        maps[self.read] = AccessMap(tuple(Dim.symbol(a.name) for a in axes))
        rewriter.set_attribute(op, "reads", tuple(maps))
        rewriter.set_operand(op, self.read, scratch)
