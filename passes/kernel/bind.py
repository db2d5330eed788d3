"""kernel.bind: say where the iterations of axes run.

Before:
    kernel.map (i: parallel m, j: parallel 16) ...
After `kernel.bind{func=f axes=[j] kind=vector}`:
    kernel.map (i: parallel m, j: vector 16) ...

The axes of a `kernel.parallel` change together, and become one of task, grid, thread and parallel.

Kinds: task, unroll, vector, grid, thread, parallel; and for a reduction, whose iterations are not independent,
reduction_unroll, which keeps their order.  Refuses: any other kind for a reduction or sequential axis, and kinds that
write their iterations out (unroll, vector, reduction_unroll) for an extent that is no constant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.access import REDUCTIONS
from headrace.ir.core import walk
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.structured import INDEPENDENT
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, set_axes, with_axis


@dataclass(frozen=True)
class Bind(Pass):
    """`func`: the kernel; `axes`: axes of one of its operations; `kind`: their new kind."""

    func: str
    axes: tuple[str, ...]
    kind: str

    summary = "say where the iterations of axes run"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        kinds = (*INDEPENDENT, "reduction_unroll")
        if self.kind not in kinds:
            raise PassError(f"kernel.bind: kind is {self.kind!r}, expected one of {', '.join(kinds)}")
        function = kernel_named(module, self.func)
        for name in self.axes:
            loop = next((o for o in walk(function, Parallel) if any(a.name == name for a in o.axes)), None)
            if loop is not None:
                self._bind_loop(loop, rewriter)
                continue
            op = with_axis(function, name)
            axis = op.axis(name)
            if axis.kind not in (REDUCTIONS if self.kind in REDUCTIONS else INDEPENDENT):
                raise PassError(f"kernel.bind: axis {name} is {axis.kind}; its iterations are not independent")
            if self.kind in ("unroll", "vector", "reduction_unroll") and not axis.extent.is_constant:
                raise PassError(f"kernel.bind: axis {name} has extent {axis.extent}; {self.kind} needs a constant")
            set_axes(op, rewriter, [replace(a, kind=self.kind) if a is axis else a for a in op.axes])

    def _bind_loop(self, loop: Parallel, rewriter: Rewriter) -> None:
        if {a.name for a in loop.axes} - set(self.axes) or self.kind not in ("task", "grid", "thread", "parallel"):
            found = ", ".join(str(a) for a in loop.axes)
            raise PassError(f"kernel.bind: {' '.join(self.axes)} as {self.kind} of a loop over {found}")
        axes = tuple(replace(a, kind=self.kind) for a in loop.axes)
        if axes != loop.axes:
            rewriter.set_attribute(loop, "axes", axes)
