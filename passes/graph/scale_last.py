"""graph.scale-last: multiply rows by a factor of their own after a product instead of before it.

Before (the end of an attention):
    %0 = graph.mul %e, %r : f32[n, 8, s, s]                 %r: f32[n, 8, s, 1]
    %y = graph.matmul %0, %v : f32[n, 8, s, 64]
After:
    %0 = graph.matmul %e, %v : f32[n, 8, s, 64]
    %y = graph.mul %0, %r : f32[n, 8, s, 64]

Needs: nothing else uses the scaled rows, and the factors are one a row (`graph.divide-once` makes such).  Leaves: as
many products less as rows get shorter; a row's scaling fuses into the product's epilogue.  Numbers: sums are rounded
before the factor.  Refuses: results whose rows are known to be longer than the operand's; anything in strict numerics.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Value, producer, walk
from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.arithmetic import Mul
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class ScaleLast(Pass):
    """No options."""

    summary = "multiply rows by a factor of their own after a product instead of before it"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if context.strict:
            return
        for function in module.functions(GraphFunc):
            for product in list(walk(function, MatMul)):
                found = _scaled_rows(product)
                if found is None:
                    continue
                rows, factors = found
                builder = rewriter.before(product)
                plain = builder.add(MatMul(rows, product.b)).result
                rewriter.replace(product, [builder.add(Mul(plain, factors)).result])


def _scaled_rows(product: MatMul) -> tuple[Value, Value] | None:
    """(rows, a factor for each) of the left operand, if it is their product."""
    scaled = producer(product.a, Mul)
    if scaled is None or len(scaled.result.uses) > 1 or tensor(scaled.result).rank < 2 or tensor(product.b).rank < 2:
        return None
    before, after = tensor(scaled.result).dims[-1], tensor(product.result).dims[-1]
    if before.is_constant and (not after.is_constant or after.value > before.value):
        return None
    for rows, factors in (scaled.operands, scaled.operands[::-1]):
        whole = tensor(rows).dims == tensor(scaled.result).dims
        if whole and tensor(factors).rank == tensor(rows).rank and tensor(factors).dims[-1] == ONE != before:
            return rows, factors
    return None
