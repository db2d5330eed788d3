"""An operation with its symbols replaced by numbers.  In: an operation, and a value per symbol.  Out: a copy.

The copy stands alone: its operands are parameters of a block of its own, of static types, and its attributes
hold no symbol.  Its `reference` is then a function of arrays only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.ir.core import Block
from headrace.ir.declare import declaration_of, fill
from headrace.ir.dims import Dim
from headrace.ir.graph.families import GraphOp, tensor
from headrace.ir.types import TensorType


def with_numbers(operation: GraphOp, values: Mapping[str, int]) -> GraphOp:
    """A detached copy of `operation` for those values of the symbols that its types and attributes mention."""
    declaration = declaration_of(operation)
    block = Block([static(tensor(o), values) for o in operation.operands])
    copies = dict(zip(operation.operands, block.arguments, strict=True))
    given: dict[str, Any] = {}
    for field in declaration.fields:
        found = getattr(operation, field.name)
        if field.kind == "attribute":
            given[field.name] = substituted(found, values)
        elif field.kind == "variadic":
            given[field.name] = tuple(copies[v] for v in found)
        else:
            given[field.name] = None if found is None else copies[found]
    copy: GraphOp = object.__new__(type(operation))
    fill(copy, declaration, given)
    copy.location = operation.location
    return copy


def static(kind: TensorType, values: Mapping[str, int]) -> TensorType:
    """The type with numbers for symbols."""
    return kind.with_dims(tuple(Dim.constant(d.evaluate(values)) for d in kind.dims))


def substituted(attribute: Any, values: Mapping[str, int]) -> Any:
    """The attribute with every formula in it evaluated."""
    if isinstance(attribute, Dim):
        return Dim.constant(attribute.evaluate(values))
    if isinstance(attribute, TensorType):
        return static(attribute, values)
    if isinstance(attribute, tuple):
        return tuple(substituted(a, values) for a in attribute)
    return attribute
