"""graph.hoist-invariants: compute before a loop what all its turns would compute alike.

Before (a decoder's loop, with the keys of what it attends to):
    %y = graph.loop captures(%memory, %w) carried(%x) {body = @turn, ...}
    graph.func @turn(%memory: f32[n, 64], %w: f32[64, 64], %x: f32[1, 64]) {
      %keys = graph.matmul %memory, %w : f32[n, 64]
      ...
After:
    %0 = graph.matmul %memory, %w : f32[n, 64]
    %y = graph.loop captures(%memory, %w, %0) carried(%x) {body = @turn, ...}
    graph.func @turn(%memory: f32[n, 64], %w: f32[64, 64], %0: f32[n, 64], %x: f32[1, 64]) {
      ...

Needs: bodies that one loop calls each.  Leaves: what nobody uses any more, for graph.dce.  Refuses: what costs little,
chains of elementwise operations and movements, since memory for their results costs more than doing them again in the
kernels that read them; what may fail, lookups and checks, since a loop may take no turn; and what mentions a symbol
that only the body knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ir.core import Operation, Value, walk
from headrace.ir.graph.families import DataDims, GraphOp, LookingUp, OwnKernel, Reducing, tensor
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.loop import Loop
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.symbols import formulas
from headrace.passes.lowering.structured import set_arguments


@dataclass(frozen=True)
class HoistInvariants(Pass):
    """No options."""

    summary = "compute before a loop what all its turns would compute alike"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        moved = True
        while moved:  # what leaves a loop may leave the one around it, too
            moved = False
            for function in module.functions(GraphFunc):
                for loop in list(walk(function, Loop)):
                    moved |= _hoist(loop, module, rewriter)


def _hoist(loop: Loop, module: Module, rewriter: Rewriter) -> bool:
    """Moves what is worth it; whether something is."""
    function = module.function(loop.body.name)
    assert isinstance(function, GraphFunc), "the verifier has seen it"
    needed = _worth_it(_invariant(function, len(loop.captures)))
    handed = [r for o in needed for r in o.results if any(u not in needed for u in r.users)]
    handed = [r for r in handed if not isinstance(r.operation, Constant)]
    if not handed:
        return False
    count = len(loop.captures)
    copies: dict[Value, Value] = dict(zip(function.parameters[:count], loop.captures, strict=True))
    builder = rewriter.before(loop)
    for operation in needed:
        builder.add(operation.clone(copies))
    captures = (*loop.captures, *(copies[r] for r in handed))
    _replace(loop, captures, rewriter)
    captured, carried = function.parameters[:count], function.parameters[count:]
    added = [function.block.add_argument(r.type, r.hint) for r in handed]
    set_arguments(function.block, [*captured, *added, *carried])
    for result, parameter in zip(handed, added, strict=True):
        rewriter.replace_uses(result, parameter)
    return True


def _replace(loop: Loop, captures: Sequence[Value], rewriter: Rewriter) -> None:
    fixed = (loop.body, loop.turn, loop.symbols, loop.limit, loop.types, loop.sizes)
    rewriter.replace_with(loop, Loop(loop.most, loop.condition, tuple(captures), loop.carried, *fixed))


def _invariant(function: GraphFunc, count: int) -> list[Operation]:
    """The operations on captured values and constants that cannot fail, in order."""
    known: set[Value] = set(function.parameters[:count])
    outside = {s for p in function.parameters[:count] for d in tensor(p).dims for s in d.symbols}
    found = []
    for operation in function.block.body:
        if _may_move(operation) and set(operation.operands) <= known and _symbols(operation) <= outside:
            known.update(operation.results)
            found.append(operation)
    return found


def _may_move(operation: Operation) -> bool:
    if isinstance(operation, Constant):
        return True
    return isinstance(operation, GraphOp) and not isinstance(operation, DataDims | LookingUp) and not operation.checks()


def _symbols(operation: Operation) -> set[str]:
    held = [*operation.attributes.values(), *(r.type for r in operation.results)]
    return {s for value in held for formula in formulas(value) for s in formula.symbols}


def _worth_it(invariant: Sequence[Operation]) -> list[Operation]:
    """Those that sum up, what follows from them, and what they need of the others; in order."""
    costly: set[Value] = set()
    for operation in invariant:
        if isinstance(operation, Reducing | OwnKernel) or any(o in costly for o in operation.operands):
            costly.update(operation.results)
    needed: set[Value] = set(costly)
    for operation in reversed(invariant):
        if any(r in needed for r in operation.results):
            needed.update(operation.operands)
    return [o for o in invariant if any(r in needed for r in o.results)]
