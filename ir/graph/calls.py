"""Functions that other functions call: whether what is given fits what is taken.

In: a module.  Out: nothing, or a VerifyError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.ir.access import SymbolRef
from headrace.ir.core import Operation, Value, walk
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.control import If, selected
from headrace.ir.graph.ops.device import Call, DeviceFunc
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.loop import Loop, loop_types
from headrace.ir.module import Module


def called_by(module: Module, function: GraphFunc) -> Iterator[GraphFunc]:
    """The functions that a function calls, in order."""
    for operation in function.walk():
        for symbol in operation.functions if isinstance(operation, If | Loop) else ():
            found = module.function(symbol.name)
            if isinstance(found, GraphFunc):
                yield found


def check_calls(module: Module) -> None:
    """Checks all calls of graph functions."""
    for function in module.functions(GraphFunc):
        for operation in walk(function, If):
            _check_if(module, operation)
        for call in walk(function, Call):
            _check_call(module, call)
        for loop in walk(function, Loop):
            _check_loop(module, loop)
        _check_ends(module, function, (function,))


def _check_if(module: Module, operation: If) -> None:
    results = []
    for symbol in operation.functions:
        function = _called(module, operation, symbol)
        _check_given(operation, symbol, function.parameters, operation.captures)
        results.append([tensor(o) for o in function.block.terminator.operands])
    if len(results[0]) != len(results[1]):
        raise operation.fail(f"the functions give {len(results[0])} and {len(results[1])} results")
    types = tuple(selected(operation.symbol, a, b) for a, b in zip(*results, strict=True))
    if types != operation.types:
        shown = [", ".join(map(str, t)) for t in (operation.types, types)]
        raise operation.fail(f"types are ({shown[0]}), expected ({shown[1]})")


def _check_call(module: Module, call: Call) -> None:
    function = module.function(call.function.name)
    if not isinstance(function, DeviceFunc):
        raise call.fail(f"{call.function} is no graph.device_func")
    pairs = (
        ("takes", [p.type for p in function.parameters], [v.type for v in call.values]),
        ("gives", list(function.result_types), list(call.types)),
    )
    for verb, declared, given in pairs:
        if declared != given:
            shown = [", ".join(map(str, types)) for types in (declared, given)]
            raise call.fail(f"{call.function} {verb} ({shown[0]}), but the call says ({shown[1]})")
def _check_loop(module: Module, loop: Loop) -> None:
    function = _called(module, loop, loop.body)
    count = len(loop.captures)
    if len(function.parameters) != len(loop.given):
        raise loop.fail(f"{loop.body} takes {len(function.parameters)} values, but is given {len(loop.given)}")
    _check_given(loop, loop.body, function.parameters[:count], loop.captures)
    carried = [tensor(p) for p in function.parameters[count:]]
    types = loop_types(loop, carried, [tensor(o) for o in function.block.terminator.operands])
    if types != loop.types:
        shown = [", ".join(map(str, t)) for t in (loop.types, types)]
        raise loop.fail(f"types are ({shown[0]}), expected ({shown[1]})")


def _called(module: Module, operation: Operation, symbol: SymbolRef) -> GraphFunc:
    function = module.function(symbol.name)
    if not isinstance(function, GraphFunc) or not function.private:
        raise operation.fail(f"{symbol} is no private graph.func")
    return function


def _check_given(operation: Operation, symbol: SymbolRef, taken: Sequence[Value], given: Sequence[Value]) -> None:
    kinds = [[v.type for v in values] for values in (taken, given)]
    if kinds[0] != kinds[1]:
        shown = [", ".join(map(str, types)) for types in kinds]
        raise operation.fail(f"{symbol} takes ({shown[0]}), but is given ({shown[1]})")


def _check_ends(module: Module, function: GraphFunc, path: tuple[GraphFunc, ...]) -> None:
    for called in called_by(module, function):
        if called in path:
            raise called.fail(f"@{called.function_name} calls itself")
        _check_ends(module, called, (*path, called))
