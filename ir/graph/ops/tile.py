"""ONNX Tile: each dim repeated, by graph.expand, or by graph.gather where the counts are data."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import MOST, TOO_MANY, first_numbers, formulas
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.types import I64


@onnx_import("Tile", since=6)
def _tile(node: OnnxNode) -> Sequence[Value]:
    x, dims, counts = Term(node, node.operand(0)), node.tensor(0).dims, node.shape_value(1)
    if counts is not None:
        if len(counts) != len(dims):
            raise node.fail(f"{len(counts)} repeats for {node.tensor(0)}, expected {len(dims)}")
        pairs = [(n, d) for n, d in zip(counts, dims, strict=True)]
        rows = x.reshape(*[part for d in dims for part in (ONE, d)])
        return [rows.expand(*[part for pair in pairs for part in pair]).reshape(*[n * d for n, d in pairs]).value]
    given = Term(node, node.operand(1)).reshape(len(dims))
    for axis, dim in enumerate(dims):
        count = given.of(Slice(given.value, (Dim.constant(axis),), (ONE,), (1,))).cast(I64)
        size = formulas(node, [dim])
        too_many = count.compare("gt", size.like(MOST) / size.at_least(1))
        problems = [(count.compare("lt", 0), "repeats are below 0"), (too_many, TOO_MANY)]
        places = first_numbers(node, count * size, f"{node.name}_{axis}", problems) % size
        x = x.of(Gather(x.value, places.value, axis))
    return [x.value]
