"""ONNX Split: a tensor cut along a dim.  It becomes one graph.slice an output.

Sizes may be given, as an attribute or an operand that is known while compiling; else all are equal, but the
last may be smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.slice import constants, sliced


@onnx_import("Split", since=2)
def _split(node: OnnxNode) -> Sequence[Value]:
    x, kind = node.operand(0), node.tensor(0)
    axis = node.axis(node.attribute("axis", 0), kind.rank)
    parts, start = [], ZERO
    for size in _split_sizes(node, kind.dims[axis]):
        parts.append(sliced(node, x, axis, start, size))
        start = start + size
    return parts


def _split_sizes(node: OnnxNode, dim: Dim) -> Sequence[Dim]:
    given = constants(node.attribute("split", ())) or node.shape_value(1)
    count = node.attribute("num_outputs", node.output_count)
    if given is None and node.input(1) is not None:
        raise node.unsupported("the sizes are data, expected integers that are known while compiling")
    if given is None:
        size = ceildiv(dim, count)
        return [*[size] * (count - 1), dim - size * (count - 1)]
    total = sum(given, start=ZERO)
    if (total - dim).is_constant and total != dim:
        raise node.fail(f"the sizes {[str(d) for d in given]} add up to {total}, but the dim is {dim}")
    if len(given) != node.output_count:
        raise node.fail(f"{len(given)} sizes for {node.output_count} outputs")
    return given
