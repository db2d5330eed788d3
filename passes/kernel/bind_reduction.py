"""kernel.bind-reduction: give the points of a reduction axis accumulators of their own.

Before:
    kernel.reduce (i: task m, k_o: reduction 12, k_i_o: reduction 4, k_i_i: reduction 16) ...
After `kernel.bind-reduction{func=f axes=[k_i_o k_i_i]}`:
    kernel.reduce (i: task m, k_o: reduction 12, k_i_o: reduction_split 4, k_i_i: reduction_vector 16) ...

The last axis becomes the lanes of a vector, one before it several vectors, whose additions do not wait for each
other.  Needs: the operation's last axes, constant powers of two (`kernel.tile`).  Numbers: sums are taken in the
order that `kernel.reduce` states.  Refuses: axes that are no reductions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.access import SPREAD
from headrace.ir.errors import PassError
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, set_axes, with_axis


@dataclass(frozen=True)
class BindReduction(Pass):
    """`func`: the kernel; `axes`: the last one or two axes of one of its operations."""

    func: str
    axes: tuple[str, ...]

    summary = "give the points of a reduction axis accumulators of their own"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if not 1 <= len(self.axes) <= len(SPREAD):
            raise PassError(f"kernel.bind-reduction: axes are {' '.join(self.axes) or 'none'}, expected one or two")
        op = with_axis(kernel_named(module, self.func), self.axes[0])
        axes = list(op.axes)
        for place, (name, kind) in enumerate(zip(self.axes, SPREAD[-len(self.axes) :], strict=True), -len(self.axes)):
            axis = op.axis(name)
            if axis is not axes[place] or axis.kind != "reduction":
                raise PassError(
                    f"kernel.bind-reduction: axis {name} is {axis.kind} number {op.axes.index(axis)} of {len(axes)};"
                    " expected a reduction among the last"
                )
            if not axis.extent.is_constant or axis.extent.value & (axis.extent.value - 1):
                raise PassError(
                    f"kernel.bind-reduction: axis {name} has extent {axis.extent}, expected a constant power of two"
                )
            axes[place] = replace(axis, kind=kind)
        set_axes(op, rewriter, axes)
