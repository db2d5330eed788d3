"""ONNX ReverseSequence, TensorScatter: elements along a time axis, at places that differ from sample to sample.

    ReverseSequence   y[t, b] = x[length[b] - 1 - t, b] where t < length[b], else x[t, b]
    TensorScatter     y[b, ..., start[b] + t] = update[b, ..., t], the rest as before; circular: modulo the dim

The first is one gather at computed indices, the second one scatter.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.arg import Positions
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.gather import GatherND
from headrace.ir.graph.ops.scatter import ScatterElements
from headrace.ir.types import I64


@onnx_import("ReverseSequence", since=10)
def _reverse_sequence(node: OnnxNode) -> Sequence[Value]:
    x, lengths = Term(node, node.operand(0)), Term(node, node.operand(1)).cast(I64)
    time, batch = int(node.attribute("time_axis", 0)), int(node.attribute("batch_axis", 1))
    if {time, batch} != {0, 1} or x.rank < 2:
        raise node.fail(f"time_axis is {time} and batch_axis {batch} for {x.type}, expected 0 and 1, or 1 and 0")
    rows = x if batch == 0 else x.move(1, 0)
    samples, steps = rows.dims[:2]
    place, end = x.indices(steps).reshape(1, steps), lengths.reshape(samples, 1)
    index = place.compare("lt", end).where(end - 1 - place, place)
    found = x.of(GatherND(rows.value, index.reshape(samples, steps, 1).value, 1))
    return [(found if batch == 0 else found.move(1, 0)).value]


@onnx_import("TensorScatter", since=24)
def _tensor_scatter(node: OnnxNode) -> Sequence[Value]:
    cache, update = Term(node, node.operand(0)), Term(node, node.operand(1))
    axis, mode = node.axis(node.attribute("axis", -2), cache.rank), str(node.attribute("mode", "linear"))
    index = update.of(Positions(update.value, axis))
    if node.input(2) is not None:
        index = index + Term(node, node.operand(2)).reshape(cache.dims[0], *[1] * (cache.rank - 1))
    if mode == "circular":
        index = index % index.of(Formulas((cache.dims[axis],), ()))
    return [node.add(ScatterElements(cache.value, index.value, update.value, axis))]
