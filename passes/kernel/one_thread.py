"""kernel.one-thread: let one thread of a workgroup do what is no loop.

Before:
    kernel.parallel (i: grid m) {
      kernel.map () reads(%sum[0]) writes(%mean[0]) ...
After `kernel.one-thread{func=f}`:
    kernel.parallel (i: grid m) {
      kernel.map (one: thread 1) reads(%sum[0]) writes(%mean[0]) ...

Applies to maps and reductions without an axis whose iterations are independent, outside of loops over threads.  Refuses
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import Axis
from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.structured import INDEPENDENT, Structured
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, set_axes
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class OneThread(Pass):
    """`func`: the kernel."""

    func: str

    summary = "let one thread of a workgroup do what is no loop"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        names = Names(function)
        for op in list(walk(function, Structured)):
            around = [a for p in op.ancestors() if isinstance(p, Parallel) for a in p.axes]
            if not any(a.kind == "thread" for a in around) and not any(a.kind in INDEPENDENT for a in op.axes):
                set_axes(op, rewriter, (Axis(names.fresh("one"), "thread", Dim.constant(1)), *op.axes))
