"""graph.cse: compute equal things once.

Before:
    %1 = graph.relu %x : f32[n, 8]
    %2 = graph.relu %x : f32[n, 8]
    %3 = graph.add %1, %2 : f32[n, 8]
After:
    %1 = graph.relu %x : f32[n, 8]
    %3 = graph.add %1, %1 : f32[n, 8]

Needs: nothing.  Leaves: the first of each group of equal operations, with the locations of all.  Refuses:
operations with regions or effects.  Attributes are compared bit by bit: 0.0 is not -0.0.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass

from headrace.ir.core import Block, Location, Operation, attributes_key
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter

_Seen = MutableMapping[Hashable, Operation]  # what was computed so far, by all that makes it equal


@dataclass(frozen=True)
class Cse(Pass):
    """The pass."""

    summary = "compute equal things once"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            _merge(function.block, {}, rewriter)


def _merge(block: Block, seen: _Seen, rewriter: Rewriter) -> None:
    for operation in list(block.operations):
        for region in operation.regions:
            _merge(region.block, {} if operation.is_isolated else ChainMap({}, seen), rewriter)
        if operation.is_terminator or operation.regions or not operation.is_pure:
            continue
        types = tuple(r.type for r in operation.results)
        key = operation.name, operation.operands, attributes_key(operation.attributes), types
        equal = seen.setdefault(key, operation)
        if equal is not operation:
            equal.location = Location.fused([equal.location, operation.location])
            rewriter.replace(operation, equal.results)
