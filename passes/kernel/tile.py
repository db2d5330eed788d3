"""kernel.tile: split an axis into tiles.

Before:
    kernel.map (i: parallel m) reads(%x[i]) writes(%y[i]) {...}
After `kernel.tile{func=f axis=i by=16}`:
    kernel.map (i_o: parallel (m + 15) floordiv 16, i_i: parallel 16)
        reads(%x[i_o*16 + i_i]) writes(%y[i_o*16 + i_i]) {where = [m - 1 - i_o*16 - i_i]} {...}

Leaves: two neighbouring axes of the same kind, `NAME_o` and `NAME_i`, and a `where` condition unless the facts
say that `by` divides the extent.  Refuses: an axis that does not exist, `by` below 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import Axis
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.errors import PassError
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, rewrite_formulas, set_axes, with_axis
from headrace.passes.lowering.names import Names


@dataclass(frozen=True)
class Tile(Pass):
    """`func`: the kernel; `axis`: its axis; `by`: iterations of a tile."""

    func: str
    axis: str
    by: int

    summary = "split an axis into tiles"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if self.by < 1:
            raise PassError(f"kernel.tile: by is {self.by}, expected 1 or more")
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        names = Names(function)
        whole = op.axis(self.axis)
        outer = Axis(names.fresh(f"{self.axis}_o"), whole.kind, ceildiv(whole.extent, self.by))
        inner = Axis(names.fresh(f"{self.axis}_i"), whole.kind, Dim.constant(self.by))
        index = Dim.symbol(outer.name) * self.by + Dim.symbol(inner.name)
        rewrite_formulas(op, rewriter, {self.axis: index})
        place = op.axes.index(whole)
        set_axes(op, rewriter, (*op.axes[:place], outer, inner, *op.axes[place + 1 :]))
        if function.known.divides(self.by, whole.extent) is not True:
            where: tuple[Dim, ...] = op.attributes["where"]
            rewriter.set_attribute(op, "where", (*where, whole.extent - 1 - index))
