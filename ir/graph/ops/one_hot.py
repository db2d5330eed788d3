"""ONNX OneHot: one number where an index says, another elsewhere.

    indices i64[n], depth d, values [off, on], axis 1 -> [n, d]      // y[i, j] = on if j is indices[i], else off

It becomes a comparison of the index with each place.  A negative index counts from the end; one that is out of range is
met nowhere.  A depth that is data is read by the program.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import first_numbers
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.types import I64


@onnx_import("OneHot", since=9)
def _one_hot(node: OnnxNode) -> Sequence[Value]:
    indices, depth = Term(node, node.operand(0)), Term(node, node.operand(1)).cast(I64).reshape(1)
    axis = node.axis(node.attribute("axis", -1), indices.rank + 1)
    if node.tensor(2).dims != (Dim.constant(2),) and node.tensor(2).is_static:
        raise node.fail(f"values are {node.tensor(2)}, expected two")
    off, on = (Term(node, sliced(node, node.operand(2), 0, Dim.constant(i), ONE)).reshape() for i in (0, 1))
    one = indices.cast(I64).reshape(*indices.dims[:axis], 1, *indices.dims[axis:])
    places = _places(node, depth)
    places = places.reshape(*places.dims, *(1,) * (indices.rank - axis))
    counted = one.compare("lt", 0).where(one + depth.reshape(), one)
    return [places.compare("eq", counted).where(on, off).value]


def _places(node: OnnxNode, depth: Term) -> Term:
    """0, 1, 2, ... below the depth."""
    known = node.shape_value(1)
    return first_numbers(node, depth, f"{node.name}_depth") if known is None else depth.indices(known[0])
