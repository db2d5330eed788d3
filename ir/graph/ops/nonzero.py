"""ONNX NonZero and Compress: the places where something holds, counted when the model runs, and the elements there."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from headrace.ir.core import Value
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import formulas, places_of
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.gather import Gather

MISSING = -(2**63)  # no axis: all elements, flattened


@onnx_import("NonZero", since=9)
def _nonzero(node: OnnxNode) -> Sequence[Value]:
    x, kind = Term(node, node.operand(0)), node.tensor(0)
    places = places_of(node, x.compare("ne", 0).reshape(kind.elements), f"{node.name}_count")
    rows = []
    for axis, dim in enumerate(kind.dims or (ONE,)):
        along = places / formulas(node, [prod(kind.dims[axis + 1 :], start=ONE)]) % formulas(node, [dim])
        rows.append(along.reshape(1, *places.dims).value)
    return [node.add(Concat(tuple(rows), 0))]


@onnx_import("Compress", since=9)
def _compress(node: OnnxNode) -> Sequence[Value]:
    x, kind, axis = Term(node, node.operand(0)), node.tensor(0), node.attribute("axis", MISSING)
    if node.tensor(1).rank != 1:
        raise node.fail(f"the condition is {node.tensor(1)}, expected one dim")
    places = places_of(node, Term(node, node.operand(1)), f"{node.name}_count")
    if axis == MISSING:
        return [node.add(Gather(x.reshape(kind.elements).value, places.value, 0))]
    return [node.add(Gather(x.value, places.value, node.axis(axis, kind.rank)))]
