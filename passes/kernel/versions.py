"""kernel.versions: one operation for each extent that an axis may have.

Before:
    kernel.reduce (r: parallel min(2, n), j: parallel 64, k: reduction 16) reads(%x[r, k], %w[k, j]) ...
After `kernel.versions{func=f axis=r most=2}`:
    kernel.if {where = [min(2, n) - 2]} {
      kernel.reduce (r_x2: parallel 2, j_x2: parallel 64, k_x2: reduction 16) reads(%x[r_x2, k_x2], ...) ...
    } else {
      kernel.if {where = [min(2, n) - 1]} {
        kernel.reduce (r_x1: parallel 1, j_x1: parallel 64, k_x1: reduction 16) ...
      } else { }
    }

So each version can have the register tile that is best for it, without a row computed twice or tested.  Leaves: axes
named NAME_xN in the version for extent N.  Refuses: an extent that may be above `most`, or that other axes of the same
operation decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import Axis
from headrace.ir.core import Region
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import If
from headrace.ir.kernel.ops.structured import Structured
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.passes.lowering.axes import kernel_named, rewrite_formulas, with_axis
from headrace.passes.lowering.enclosing import enclosing_facts
from headrace.passes.lowering.names import symbols_under, version_name


@dataclass(frozen=True)
class Versions(Pass):
    """`func`: the kernel; `axis`: its axis; `most`: the largest extent that it may have."""

    func: str
    axis: str
    most: int

    summary = "give each extent that an axis may have an operation of its own"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        extent = op.axis(self.axis).extent
        facts = enclosing_facts(op, function.known)
        if facts.less_equal(extent, self.most) is not True:
            raise PassError(f"kernel.versions: axis {self.axis} has extent {extent}, which may be above {self.most}")
        inner = {a.name for a in op.axes} & set(extent.symbols)
        if inner:
            raise PassError(f"kernel.versions: the extent of {self.axis} depends on axis {min(inner)}")
        taken = symbols_under(function)
        builder = rewriter.before(op)
        for number in range(self.most, 0, -1):
            clash = {version_name(a.name, number) for a in op.axes} & taken
            if clash:
                raise PassError(f"kernel.versions: the name {min(clash)} is taken")
            then, otherwise = Region(), Region()
            builder.add(If(None, (extent - number,), then, otherwise))
            rewriter.end_of(then.block, op.location).add(self._version(op, number, rewriter))
            builder = Builder(otherwise.block, None, op.location)
        rewriter.erase(op)

    def _version(self, op: Structured, number: int, rewriter: Rewriter) -> Structured:
        """A detached copy for one extent, its axes renamed."""
        copy = op.clone()
        assert isinstance(copy, Structured)
        names = {a.name: Dim.symbol(version_name(a.name, number)) for a in op.axes}
        rewrite_formulas(copy, rewriter, names)
        copy.attributes["axes"] = tuple(
            Axis(
                str(names[a.name]),
                a.kind,
                Dim.constant(number) if a.name == self.axis else a.extent.substitute(names),
            )
            for a in op.axes
        )
        return copy
