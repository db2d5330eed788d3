"""Ranks that a model declares: a hint for results whose rank is data.

In: a graph.  Out: ranks by name: of its outputs, of values whose shapes it tells, and of what goes into one of these
through operators that leave the rank.
"""

from __future__ import annotations

from functools import cache

from onnx import GraphProto

from headrace.ir.declare import declarations
from headrace.ir.graph.families import Elementwise


def declared_ranks(graph: GraphProto) -> dict[str, int]:
    """Ranks of values of the graph itself, not of those in branches and functions."""
    ranks = {
        v.name: len(v.type.tensor_type.shape.dim)
        for v in (*graph.output, *graph.value_info)
        if v.type.tensor_type.HasField("shape")
    }
    for node in reversed(graph.node):
        if node.op_type in _leaving_ranks() and node.input and node.output and node.output[0] in ranks:
            ranks.setdefault(node.input[0], ranks[node.output[0]])
    return ranks


@cache
def _leaving_ranks() -> frozenset[str]:
    """Operators whose result has the rank of their first input."""
    pointwise = [d for d in declarations("graph") if issubclass(d.cls, Elementwise) and len(d.operand_fields) == 1]
    names = {form.name for d in pointwise for form in d.onnx}
    return frozenset(names | {"Cast", "CastLike", "Clip", "Identity", "Softmax", "LogSoftmax"})
