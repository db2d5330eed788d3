"""ONNX Split: a tensor cut along a dim.  It becomes one graph.slice an output.

Sizes may be given, as an attribute or an operand; else all are equal, but the last may be smaller.  Sizes that are data
make it one graph.gather an output.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import first_numbers, formulas
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.cumulate import Cumulate
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.slice import Slice, constants, sliced
from headrace.ir.types import I64


@onnx_import("Split", since=2)
def _split(node: OnnxNode) -> Sequence[Value]:
    x, kind = node.operand(0), node.tensor(0)
    axis = node.axis(node.attribute("axis", 0), kind.rank)
    if node.input(1) is not None and node.shape_value(1) is None:
        return _at_data(node, axis)
    parts, start = [], ZERO
    for size in _split_sizes(node, kind.dims[axis]):
        parts.append(sliced(node, x, axis, start, size))
        start = start + size
    return parts


def _split_sizes(node: OnnxNode, dim: Dim) -> Sequence[Dim]:
    given = constants(node.attribute("split", ())) or node.shape_value(1)
    count = node.attribute("num_outputs", node.output_count)
    if given is None:
        size = ceildiv(dim, count)
        return [*[size] * (count - 1), dim - size * (count - 1)]
    total = sum(given, start=ZERO)
    if (total - dim).is_constant and total != dim:
        raise node.fail(f"the sizes {[str(d) for d in given]} add up to {total}, but the dim is {dim}")
    if len(given) != node.output_count:
        raise node.fail(f"{len(given)} sizes for {node.output_count} outputs")
    return given


def _at_data(node: OnnxNode, axis: int) -> Sequence[Value]:
    """Sizes that do not add up to the dim are an error when the model runs."""
    x, count = Term(node, node.operand(0)), Dim.constant(node.output_count)
    sizes = Term(node, node.operand(1)).cast(I64).reshape(count)
    starts = sizes.of(Cumulate(sizes.value, "sum", 0, exclusive=True))
    dim = formulas(node, [x.dims[axis]])
    inside = sizes.at_least(0).at_most(dim)  # whose sum does not wrap
    are_inside = sizes.compare("eq", inside).reduce("min", (0,))
    total = are_inside.where(inside.reduce("sum", (0,)), dim * 0 - 1)
    problem = (total.compare("ne", dim), f"the sizes do not add up to the dim of {x.dims[axis]}")
    parts = []
    for number in range(node.output_count):
        size, start = (v.of(Slice(v.value, (Dim.constant(number),), (ONE,), (1,))) for v in (sizes, starts))
        places = first_numbers(node, size, f"{node.name}_{number}", [problem]) + start
        parts.append(node.add(Gather(x.value, places.value, axis)))
    return parts
