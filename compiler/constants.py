"""Constants when the artefact is written: from the store, or computed by a graph function, one at a time."""

from __future__ import annotations

from headrace.codegen.program import ConstantSource
from headrace.ir.access import SymbolRef
from headrace.ir.constants import Array, ConstantRef
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.text import print_op


def constants_of(module: Module) -> ConstantSource:
    """Names and evaluates the constants of a module.  A key is the digest, or the text of the function."""

    def function(value: SymbolRef) -> GraphFunc:
        found = module.function(value.name)
        assert isinstance(found, GraphFunc), f"@{value.name} is {found.name}"
        return found

    def key(value: ConstantRef | SymbolRef) -> str:
        return value.digest if isinstance(value, ConstantRef) else print_op(function(value))

    def evaluate(value: ConstantRef | SymbolRef) -> Array:
        if isinstance(value, ConstantRef):
            return module.constants.array(value)
        (result,) = run_graph(function(value), [])
        return result

    return ConstantSource(key, evaluate)
