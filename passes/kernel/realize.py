"""kernel.realize: turn structured operations into loops, by the order and kinds of their axes.

Before:
    kernel.reduce (i: task m, k: reduction 768, u: unroll 6, v: vector 16) reads(...) writes(...) ...
After:
    kernel.parallel (i: task m) {
      %acc = kernel.alloc {type = buffer<f32[6, 16], register>} : buffer<f32[6, 16], register>
      kernel.for (u: unroll 6) { ... }
      kernel.for (k: sequential 768) { kernel.for (u_1: unroll 6) { ... } }
      kernel.for (u_2: unroll 6) { ... }
    }

Needs: axes ordered as loops, then reductions, then `unroll` axes, then at most one `vector` axis.  Leaves: loops
only.  Refuses: conditions that tie a reduction to a register axis, and reads that are not linear in the vector
axis; the schedule that made such axes is at fault, and the message names the operation.

Where a tile does not fit its extent, rows that do not exist compute on the last row that does and are not
stored; lanes that do not exist are masked.  So the inner loop has no branch.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import walk
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Structured
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.enclosing import enclosing_facts
from headrace.passes.lowering.names import Names
from headrace.passes.lowering.nest import realize


@dataclass(frozen=True)
class Realize(Pass):
    """`func`: only this function; all if empty."""

    func: str = ""

    summary = "turn structured operations into loops"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(KernelFunc):
            if self.func in ("", function.function_name):
                names = Names(function)
                for op in list(walk(function, Structured)):
                    facts = enclosing_facts(op, function.known)
                    realize(op, rewriter.before(op), facts, names)
                    rewriter.erase(op)
