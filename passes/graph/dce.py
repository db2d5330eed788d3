"""graph.dce: remove operations whose results nobody uses.

Before:
    %1 = graph.relu %x : f32[n, 8]
    %2 = graph.transpose %x {perm = [1, 0]} : f32[8, n]
    graph.return %1
After:
    %1 = graph.relu %x : f32[n, 8]
    graph.return %1

Needs: nothing.  Leaves: operations that are used, those with an effect, and functions that are called or may be called
from outside.  Refuses: unused parameters, since they belong to the signature.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Block
from headrace.ir.graph.calls import called_by
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class Dce(Pass):
    """The pass."""

    summary = "remove operations whose results nobody uses"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            _sweep(function.block, rewriter)
        while unused := _uncalled(module):
            for function in unused:
                rewriter.erase(function)


def _uncalled(module: Module) -> list[GraphFunc]:
    called = {c for function in module.functions(GraphFunc) for c in called_by(module, function)}
    return [f for f in module.functions(GraphFunc) if f.private and f not in called]


def _sweep(block: Block, rewriter: Rewriter) -> None:
    """From the end, so that what only a removed operation used is unused when it is met."""
    for operation in reversed(list(block.operations)):
        for region in operation.regions:
            _sweep(region.block, rewriter)
        unused = operation.is_pure and not operation.is_terminator and not any(r.uses for r in operation.results)
        if unused:
            rewriter.erase(operation)
