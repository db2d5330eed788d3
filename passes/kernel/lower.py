"""kernel.lower: from the graph dialect to structured kernels and the host's program.

Before:
    graph.func @main(%x: f32[n, 64]) {...} {
      %w = graph.constant {value = ...} : f32[64, 10]
      %y = graph.cluster inputs(%x, %w) { ... graph.matmul ... } : f32[n, 10]
      graph.return %y
    }
After:
    program.func @main(%x: buffer<f32[n, 64]>, %out_y: buffer<f32[n, 10]>) {outputs = 1, ...} {
      %w = program.constant {value = ...} : buffer<f32[64, 10]>
      program.launch buffers(%x, %w, %out_y) {kernel = @matmul, scalars = [n]}
    }
    kernel.func @matmul(...) { kernel.reduce (i0: parallel n, i1: parallel 10, k: reduction 64) ... }

Needs: every operation on tensors is in a cluster, a view, or depends on constants only (`graph.cluster` leaves
it so).  Leaves: no graph function but those without parameters, which stand for constants.  Numbers: a
contraction's multiply-add may be fused from here on.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.host import HostLowering


@dataclass(frozen=True)
class Lower(Pass):
    """No options."""

    summary = "lower clusters to structured kernels and the rest to the host's program"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for source in module.functions(GraphFunc):
            if source.stands_for_constant or source.private:
                continue
            lowering = HostLowering(module, source)
            program = lowering.lower()
            place = rewriter.before(source)
            for function in (program, *lowering.kernels, *lowering.constants):
                place.add(function)
            rewriter.erase(source)
        for source in module.functions(GraphFunc):
            if source.private:
                rewriter.erase(source)
