"""kernel.split-reduction: let the threads of a workgroup reduce parts, and join these in shared memory.

Before:
    kernel.parallel (i: grid m) {
      kernel.reduce (k_o: reduction 12, k_i: reduction 64) reads(%x[i, k_i + k_o*64]) late(%b[i]) writes(%y[i]) ...
    }
After `kernel.split-reduction{func=f axis=k_i}`:
    kernel.parallel (i: grid m) {
      %part = kernel.alloc {type = buffer<f32[64], shared>}
      kernel.reduce (k_i: thread 64, k_o: reduction 12) reads(%x[i, k_i + k_o*64]) writes(%part[k_i]) ...
      kernel.map (k_i_0: thread 32) reads(%part[k_i_0], %part[k_i_0 + 32]) writes(%part[k_i_0]) {...combine...}
      ...
      kernel.map (k_i_5: thread 1) reads(%part[0], %part[1]) writes(%part[0]) {...combine...}
      kernel.map (k_i_6: thread 1) reads(%part[0], %b[i]) writes(%y[i]) {...finish...}
    }

The second half of the parts joins the first, and so on until one is left.  Needs: a reduce inside a loop over
workgroups, whose axes are all reductions (`kernel.enclose`); an extent that is a power of two.  Refuses: conditions
that mention the axis and no other reduction, since such a part would have no sum at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Parallel, Yield
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType, Element
from headrace.passes.lowering.axes import kernel_named, with_axis
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class SplitReduction(Pass):
    """`func`: the kernel; `axis`: the reduction axis whose points become threads."""

    func: str
    axis: str

    summary = "let the threads of a workgroup reduce parts, and join these in shared memory"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        axis = op.axis(self.axis)
        self._check(op, axis)
        assert isinstance(op, Reduce)
        names = Names(function)
        builder = rewriter.before(op)
        kinds = [BufferType(e.dtype, (axis.extent,), "shared") for e in op.accumulators]
        parts = [builder.add(Alloc(kind), "part").result for kind in kinds]
        own = tuple(Access(p, AccessMap((Dim.symbol(axis.name),))) for p in parts)
        axes = (replace(axis, kind="thread"), *(a for a in op.axes if a is not axis))
        init, step, combine = (r.clone({}) for r in (op.init, op.step, op.combine))
        finish = _as_it_is(op.accumulators)
        builder.add(Reduce(axes, op.reads, (), own, init, step, combine, finish, op.where))
        half = axis.extent.value // 2
        while half:
            thread = Axis(names.fresh(f"{axis.name}_{half}"), "thread", Dim.constant(half))
            left, right = (_at(parts, Dim.symbol(thread.name) + start) for start in (0, half))
            builder.add(Map((thread,), (*left, *right), left, op.combine.clone({})))
            half //= 2
        one = Axis(names.fresh(f"{axis.name}_0"), "thread", Dim.constant(1))
        builder.add(Map((one,), (*_at(parts, Dim.constant(0)), *op.late), op.writes, op.finish.clone({})))
        rewriter.erase(op)

    def _check(self, op: object, axis: Axis) -> None:
        if not isinstance(op, Reduce) or any(a.kind != "reduction" for a in op.axes):
            raise PassError(f"kernel.split-reduction: {self.axis} is no axis of an operation that only reduces")
        above = op.parent_op
        if not isinstance(above, Parallel) or any(a.kind != "grid" for a in above.axes):
            raise PassError(
                f"kernel.split-reduction: the operation with axis {self.axis} is in no loop over workgroups"
            )
        size = axis.extent.value if axis.extent.is_constant else 0
        if size < 1 or size & (size - 1):
            raise PassError(f"kernel.split-reduction: {self.axis} has extent {axis.extent}, expected a power of two")
        others = {a.name for a in op.axes} - {axis.name}
        for condition in op.where:
            if axis.name in condition.symbols and not others & set(condition.symbols):
                raise PassError(f"kernel.split-reduction: {condition} >= 0 leaves some of {self.axis} without a sum")


def _at(parts: Sequence[Value], index: Dim) -> tuple[Access, ...]:
    return tuple(Access(p, AccessMap((index,))) for p in parts)


def _as_it_is(elements: Sequence[Element]) -> Region:
    block = Block(elements)
    Builder(block).add(Yield(tuple(block.arguments)))
    return Region(block)
