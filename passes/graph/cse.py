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

from dataclasses import dataclass

from headrace.ir.core import Block, Location, Operation, Value, attributes_equal
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter

# What was computed so far, by operation and operands; the attributes decide among the few that share these.
_Seen = dict[tuple[str, tuple[Value, ...]], list[Operation]]


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
            _merge(region.block, {} if operation.is_isolated else dict(seen), rewriter)
        if operation.is_terminator or operation.regions or not operation.is_pure:
            continue
        key = operation.name, operation.operands
        equal = _first_equal(operation, seen.get(key, []))
        if equal is None:
            seen[key] = [*seen.get(key, []), operation]
        else:
            equal.location = Location.fused([equal.location, operation.location])
            rewriter.replace(operation, equal.results)


def _first_equal(operation: Operation, candidates: list[Operation]) -> Operation | None:
    types = [r.type for r in operation.results]
    for candidate in candidates:
        same = attributes_equal(operation.attributes, candidate.attributes)
        if same and [r.type for r in candidate.results] == types:
            return candidate
    return None
