"""graph.divide-once: divide by a number that many elements share once, and multiply by what comes out.

Before:
    %s = graph.reduce %e {kind = "sum", axes = [1], keepdims = true} : f32[n, 1]
    %y = graph.div %e, %s : f32[n, 64]
After:
    %s = graph.reduce %e {kind = "sum", axes = [1], keepdims = true} : f32[n, 1]
    %r = graph.reciprocal %s : f32[n, 1]
    %y = graph.mul %e, %r : f32[n, 64]

A vector of quotients takes as long as ten of products.  Needs: nothing.  Leaves: the same elements, each off by one
more rounding.  Applies where the divisor has one element for all of the last dim.  Refuses: integers, whose quotients
are exact, and 16-bit floats, whose reciprocals are not good enough; anything in strict numerics.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import walk
from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.arithmetic import Div, Mul
from headrace.ir.graph.ops.exponential import Reciprocal
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class DivideOnce(Pass):
    """No options."""

    summary = "divide by a number that many elements share once, and multiply"
    effect = "approximates"
    bound_ulp = 1.5

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if context.strict:
            return
        for function in module.functions(GraphFunc):
            for division in list(walk(function, Div)):
                if _is_shared(division):
                    builder = rewriter.before(division)
                    factor = builder.add(Reciprocal(division.operands[1])).result
                    rewriter.replace(division, [builder.add(Mul(division.operands[0], factor)).result])


def _is_shared(division: Div) -> bool:
    """Whether all elements along the last dim of the result are divided by the same one."""
    divisor, result = tensor(division.operands[1]), tensor(division.result)
    if not result.dtype.is_float or result.dtype.bits < 32 or not result.dims or result.dims[-1] == ONE:
        return False
    return not divisor.dims or divisor.dims[-1] == ONE
