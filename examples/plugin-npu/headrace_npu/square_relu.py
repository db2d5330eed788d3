"""graph.npu-square-relu: a relu that is multiplied with itself is one operation.

Before:
    %1 = graph.relu %x : f32[n, 64]
    %2 = graph.mul %1, %1 : f32[n, 64]
After:
    %1 = graph.relu %x : f32[n, 64]
    %2 = graph.squared_relu %x : f32[n, 64]

Leaves: the relu, to whoever else uses it, or to graph.dce.  Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import producer, walk
from headrace.ir.graph.ops.arithmetic import Mul
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace_npu.squared_relu import SquaredRelu


@dataclass(frozen=True)
class SquareRelu(Pass):
    """No options."""

    summary = "make one operation of a relu that is multiplied with itself"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for product in list(walk(module, Mul)):
            left, right = product.operands
            relu = producer(left, Relu)
            if relu is not None and left is right:
                rewriter.replace_with(product, SquaredRelu(relu.x))
