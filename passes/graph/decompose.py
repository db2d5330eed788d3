"""graph.decompose: replace operations by the simpler ones they are made of.

Before:
    %y = graph.softmax %x {axis = 1} : f32[n, 10]
After:
    %1 = graph.reduce_max %x {axes = [1]} : f32[n, 1]
    %2 = graph.sub %x, %1 : f32[n, 10]
    %3 = graph.exp_nonpositive %2 : f32[n, 10]
    %4 = graph.reduce_sum %3 {axes = [1]} : f32[n, 1]
    %y = graph.div %3, %4 : f32[n, 10]

Needs: nothing.  Leaves: operations that decompose no further, each with the location of what it came from.
Refuses: nothing; an operation that has a kernel form of its own says so by not decomposing.

The parts may round where the whole does not, so the effect is `reorders`; in strict mode the parts are the
meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.graph.families import GraphOp
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter


@dataclass(frozen=True)
class Decompose(Pass):
    """The pass."""

    summary = "replace operations by the simpler ones they are made of"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            while _once(function, rewriter):
                pass


def _once(function: GraphFunc, rewriter: Rewriter) -> bool:
    """Decomposes every operation there is now by one step; whether there was one."""
    found = False
    for operation in list(function.walk()):
        if not isinstance(operation, GraphOp) or operation.parent is None:
            continue
        parts = operation.decompose(Builder(operation.parent, operation, operation.location))
        if parts is None:
            continue
        found = True
        for old, new in zip(operation.results, parts, strict=True):
            if old.type != new.type:
                raise operation.fail(f"decomposes into {new.type}, expected {old.type}")
        rewriter.replace(operation, parts)
    return found
