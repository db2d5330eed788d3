"""graph.pad-windows: padding of convolutions and poolings as an operation of its own.

Before:
    %1 = graph.conv %x, %w {before = [1, 1], after = [1, 1], channels_last = true, ...} : f32[n, 56, 56, 64]
After:
    %0 = graph.pad %x {before = [0, 1, 1, 0], after = [0, 1, 1, 0], value = 0.0} : f32[n, 58, 58, 64]
    %1 = graph.conv %0, %w {before = [0, 0], after = [0, 0], channels_last = true, ...} : f32[n, 56, 56, 64]

A kernel that reads a window at every pixel then needs no test of where the image ends; `graph.cluster` lets the
operation that makes %x write its result right into the middle of the padded buffer.  Needs: channels last, where a
window's rows are runs of memory.  Leaves others as they are, and poolings of which padding is not an ordinary number:
means that do not count it, and windows that hang over the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.pool import AveragePool, MaxPool
from headrace.ir.graph.ops.reduce import lowest
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class PadWindows(Pass):
    """No options."""

    summary = "make the padding of convolutions and poolings an operation of its own"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            if function.stands_for_constant:
                continue
            for op in list(function.walk()):
                if isinstance(op, Conv | MaxPool | AveragePool) and op.channels_last:
                    _pad(op, rewriter)


def _pad(op: Conv | MaxPool | AveragePool, rewriter: Rewriter) -> None:
    pads = (*op.before, *op.after)
    if all(d == ZERO for d in pads) or not all(d.is_constant and d.value >= 0 for d in pads):
        return
    counted = isinstance(op, AveragePool) and not op.count_include_pad
    if counted or (isinstance(op, MaxPool | AveragePool) and op.ceil):
        return
    dtype = tensor(op.x).dtype
    value = lowest(dtype) if isinstance(op, MaxPool) else 0.0 if dtype.is_float else 0
    before, after = (ZERO, *op.before, ZERO), (ZERO, *op.after, ZERO)
    padded = rewriter.before(op).add(Pad(op.x, before, after, value)).result
    nothing = (ZERO,) * len(op.before)
    rewriter.set_operand(op, 0, padded)
    rewriter.set_attribute(op, "before", nothing)
    rewriter.set_attribute(op, "after", nothing)
