"""graph.if in a growing graph: each branch is a function that grows from what it captures.

Both branches are run for every case, so that what they need is there; what comes out is of the one that is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, tensor
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.compare import Compare
from headrace.ir.graph.ops.control import If, selected
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.types import BOOL, TensorType
from random_graphs.growing import SYMBOLS, Growing, Refused

MOST_CAPTURED = 3
DEEPEST = 2


def branch(g: Growing, extend: Callable[[Growing, int], None]) -> None:
    """Adds one.  `extend` adds a number of operations to a graph."""
    if g.depth == DEEPEST:
        raise Refused("no branch here")
    condition = _condition(g)
    holds = [bool(a.reshape(-1)[0]) for a in g.arrays[condition]]
    values = [v for v in g.values if v is not condition]
    captured = [values[i] for i in g.rng.permutation(len(values))[:MOST_CAPTURED]]
    then, otherwise = (_body(g, captured, extend) for _ in range(2))
    symbol = g.symbol()
    pairs = _pairs(g, then, otherwise, symbol)
    # A symbol that is read in the branch which is not taken is 1.
    for number, (case, taken) in enumerate(zip(g.cases, holds, strict=True)):
        for body, counts in ((then, taken), (otherwise, not taken)):
            case |= {s: n if counts else 1 for s, n in body.cases[number].items() if s not in case}
        case[symbol] = int(taken)
    g.flags.add(symbol)
    functions = [_function(g, then, [a for a, _, _ in pairs]), _function(g, otherwise, [b for _, b, _ in pairs])]
    types = tuple(t for *_, t in pairs)
    operation = If(condition, tuple(captured), functions[0], functions[1], symbol, types)
    g.builder.add(operation)
    operation.verify_op()
    for result, (a, b, _) in zip(operation.results, pairs, strict=True):
        g.arrays[result] = [
            x if taken else y for taken, x, y in zip(holds, then.arrays[a], otherwise.arrays[b], strict=True)
        ]


def _condition(g: Growing) -> Value:
    """A bool from outside, or a comparison of dims: never of floats, since rounding might decide."""
    if g.chance(0.3):
        dims = g.add(Formulas((Dim.symbol(SYMBOLS[0]),), (1,)))
        return g.add(Compare(dims, g.constant(np.array([int(g.rng.integers(1, 6))])), "lt"))
    kind = TensorType(BOOL, (ONE,) * int(g.rng.integers(2)))
    return g.parameter(kind, [np.full([1] * kind.rank, g.chance(0.5)) for _ in g.cases])


def _body(g: Growing, captured: list[Value], extend: Callable[[Growing, int], None]) -> Growing:
    """What a branch computes."""
    block = Block([v.type for v in captured])
    arrays: dict[Value, list[Array]] = {a: list(g.arrays[v]) for a, v in zip(block.arguments, captured, strict=True)}
    inner = g.within(block, arrays)
    extend(inner, int(g.rng.integers(4)))
    return inner


def _pairs(g: Growing, then: Growing, otherwise: Growing, symbol: str) -> list[tuple[Value, Value, TensorType]]:
    """Results of one and of the other, and the types of what is chosen."""
    found = []
    for a in reversed(then.values):
        for b in reversed(otherwise.values):
            kind = selected(symbol, tensor(a), tensor(b))
            if kind is not None and (tensor(a).dims == tensor(b).dims or g.chance(0.5)):
                found.append((a, b, kind))
    if not found:
        raise Refused("no type is both's")
    return found[: int(g.rng.integers(1, 3))]


def _function(g: Growing, body: Growing, results: list[Value]) -> SymbolRef:
    """A private function; what is known around it is known inside."""
    body.builder.add(Return(tuple(results)))
    outside = [s for s in SYMBOLS if not any(s in d.symbols for a in body.block.arguments for d in tensor(a).dims)]
    facts = (*(f"{s} in [0, inf]" for s in outside), *g.facts)
    names = tuple(f"result_{i}" for i in range(len(results)))
    symbol = SymbolRef(f"branch_{len(g.functions)}")
    g.functions.append(GraphFunc(symbol, Region(body.block), facts, (), names, private=True))
    return symbol
