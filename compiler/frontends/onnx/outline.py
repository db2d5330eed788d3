"""Branches as functions of their own.  In: graphs within a node.  Out: private functions, and what they capture.

All of them take the same parameters: what any of them takes from around it.  A constant is none of these: each
function has its own, so that passes can work on it; nor are integers that are known while compiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import GraphProto

from headrace.compiler.frontends.onnx.held import Maybe, Tensors
from headrace.compiler.frontends.onnx.node import NodeUnsupported
from headrace.compiler.frontends.onnx.order import captured
from headrace.compiler.frontends.onnx.scope import Scope
from headrace.compiler.frontends.onnx.state import State
from headrace.ir.core import Block, Value
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.control import If, selected
from headrace.ir.graph.ops.formulas import Formulas


@dataclass(frozen=True, slots=True)
class Body:
    """A block that is to be a function, and the names that its nodes know."""

    block: Block
    scope: Scope


def bodies(graphs: Sequence[GraphProto], scope: Scope, state: State) -> tuple[list[Body], list[Value]]:
    """A body for each graph, all with the same parameters, and the values that are given for these."""
    taken = [captured(g) for g in graphs]
    found = []
    given: dict[Value, Value] = {}
    for own in taken:
        inner = Scope(scope.opsets, attributes=scope.attributes, caller=scope.caller, depth=scope.depth)
        body = Body(Block(), inner)
        given = {}
        with state.builder.at(body.block):
            for name in dict.fromkeys(n for names in taken for n in names):
                _enter(name, scope, body, state, given)
        for name in [n for n in (*inner.values, *inner.constants) if n not in own]:
            inner.values.pop(name, None)
            inner.constants.pop(name, None)
        found.append(body)
    return found, list(given)


def _enter(name: str, scope: Scope, body: Body, state: State, given: dict[Value, Value]) -> None:
    """Lets a body know what a name stands for around it.  `given`: the parameters so far, by what is given for them."""
    place = next((p for p in scope.scopes() if name in p.values or name in p.constants), None)
    if place is None:
        return  # whoever asks for it is told
    if name in place.constants:
        body.scope.constants[name] = place.constants[name]
        return
    value = place.values[name]
    if isinstance(value, Tensors | Maybe):
        raise NodeUnsupported(f"what data choose takes {name!r}, a sequence or an optional, from around it")
    body.scope.values[name] = None if value is None else inside(value, body.block, state, given)


def inside(value: Value, block: Block, state: State, given: dict[Value, Value]) -> Value:
    """What stands for a value in a function; `given`: the parameters so far, by what is given for them."""
    if value in given:
        return given[value]
    copy = _copied(value, state)
    if copy is None:
        copy = given[value] = block.add_argument(value.type, value.hint)
    return copy


def _copied(value: Value, state: State) -> Value | None:
    """What is known while compiling, once more."""
    array = state.constant(value)
    if array is not None:
        return state.add_constant(array)
    known, kind = state.integers(value), tensor(value)
    if known is None or not kind.dtype.is_integer:
        return None
    return state.add(Formulas(known, tuple(d.value for d in kind.dims), kind.dtype))


def chosen(
    condition: Value,
    then: Body,
    otherwise: Body,
    results: Sequence[Sequence[Value]],
    given: Sequence[Value],
    state: State,
) -> Sequence[Value]:
    """The results of one body or the other.  Raises NodeUnsupported where no type is both's."""
    symbol = state.symbol("holds", highest=1)
    types = []
    for a, b in zip(*results, strict=True):
        kind = selected(symbol, tensor(a), tensor(b))
        if kind is None:
            raise NodeUnsupported(f"its branches give {a.type} and {b.type}, expected one element type and rank")
        types.append(kind)
    functions = [
        state.add_function(f"{symbol}_{wish}", body.block, values)
        for wish, body, values in zip(("then", "else"), (then, otherwise), results, strict=True)
    ]
    return state.add_all(If(condition, tuple(given), functions[0], functions[1], symbol, tuple(types)))
