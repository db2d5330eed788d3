"""kernel.enclose: put an operation inside a loop over its outermost axes.

Before:
    kernel.reduce (i: grid m, k: reduction 768) reads(%x[i, k]) writes(%y[i]) ...
After `kernel.enclose{func=f axes=[i]}`:
    kernel.parallel (i: grid m) {
      kernel.reduce (k: reduction 768) reads(%x[i, k]) writes(%y[i]) ...
    }

So that what goes on inside can be several operations.  Refuses: axes that are not the operation's first ones, or whose
iterations are not independent or not of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Region
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, set_axes, with_axis


@dataclass(frozen=True)
class Enclose(Pass):
    """`func`: the kernel; `axes`: the first axes of one of its operations, in order."""

    func: str
    axes: tuple[str, ...]

    summary = "put an operation inside a loop over its outermost axes"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if not self.axes:
            raise PassError("kernel.enclose: axes are none, expected one or more")
        op = with_axis(kernel_named(module, self.func), self.axes[0])
        outer = op.axes[: len(self.axes)]
        kinds = {a.kind for a in outer}
        if tuple(a.name for a in outer) != self.axes or len(kinds) > 1 or not kinds <= {"task", "grid", "thread"}:
            found = ", ".join(str(a) for a in op.axes)
            text = f"kernel.enclose: {' '.join(self.axes)} of {found}"
            raise PassError(f"{text}; expected its first axes, all task, all grid or all thread")
        body = Region()
        set_axes(op, rewriter, op.axes[len(outer) :])
        loop = rewriter.before(op).add(Parallel(outer, body))
        rewriter.end_of(loop.body.block, op.location).add(op.clone())
        rewriter.erase(op)
