"""kernel.reorder: change the order of a structured operation's axes, which is the order of its loops.

Before:
    kernel.reduce (i: parallel m, j: parallel n, k: reduction 768) ...
After `kernel.reorder{func=f axes=[j i k]}`:
    kernel.reduce (j: parallel n, i: parallel m, k: reduction 768) ...

Needs: all axes of one operation, each once.  Refuses: to move an axis before one that its extent mentions, and to
swap reduction axes among themselves, since that changes the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import REDUCTIONS
from headrace.ir.errors import PassError
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, set_axes, with_axis


@dataclass(frozen=True)
class Reorder(Pass):
    """`func`: the kernel; `axes`: all axes of one of its operations in the new order."""

    func: str
    axes: tuple[str, ...]

    summary = "change the order of a structured operation's axes"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if not self.axes:
            raise PassError("kernel.reorder: axes is empty, expected all axes of one operation")
        op = with_axis(kernel_named(module, self.func), self.axes[0])
        if sorted(self.axes) != sorted(a.name for a in op.axes):
            found = " ".join(a.name for a in op.axes)
            raise PassError(f"kernel.reorder: axes are {' '.join(self.axes)}, expected each of {found} once")
        order = [op.axis(name) for name in self.axes]
        for place, axis in enumerate(order):
            later = {a.name for a in order[place:]} & set(axis.extent.symbols)
            if later:
                raise PassError(
                    f"kernel.reorder: the extent of {axis.name} mentions {min(later)}, which would come after it"
                )
        reductions = [a.name for a in op.axes if a.kind in REDUCTIONS]
        if [a.name for a in order if a.kind in REDUCTIONS] != reductions:
            raise PassError("kernel.reorder: reduction axes change places; the order of sums would change with them")
        set_axes(op, rewriter, order)
