"""ONNX's reductions: graph.reduce over axes that are known, or that are data."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.graph.data_axes import axes_mask, count, kept_dims, parted, reshaped_as
from headrace.ir.graph.families import tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.arithmetic import Abs, Mul
from headrace.ir.graph.ops.cast import as_dtype
from headrace.ir.graph.ops.exponential import Exp, Log, Sqrt
from headrace.ir.graph.ops.reduce import KINDS, Kind, reduced
from headrace.ir.graph.ranks import result_rank
from headrace.ir.types import F64

_BY_NAME: dict[str, Kind] = {f"Reduce{kind.capitalize()}": kind for kind in KINDS}


@onnx_import(*_BY_NAME)
def _reduce(node: OnnxNode) -> Sequence[Value]:
    return [_as_told(node, node.operand(0), _BY_NAME[node.op_type])]


@onnx_import("ReduceL1", "ReduceL2", "ReduceSumSquare")
def _norm(node: OnnxNode) -> Sequence[Value]:
    x = node.operand(0)
    if node.op_type == "ReduceL1":
        return [_as_told(node, node.add(Abs(x)), "sum")]
    squares = _as_told(node, node.add(Mul(x, x)), "sum")
    return [node.add(Sqrt(squares)) if node.op_type == "ReduceL2" else squares]


@onnx_import("ReduceLogSum", "ReduceLogSumExp")
def _logarithm(node: OnnxNode) -> Sequence[Value]:
    x, kind = node.operand(0), node.tensor(0)
    if node.op_type == "ReduceLogSum":
        return [node.add(Log(_as_told(node, x, "sum")))]
    # As ONNX defines it: f64 has room for the exponentials of all f32 up to 709.
    total = _as_told(node, node.add(Exp(as_dtype(node, x, F64))), "sum")
    return [as_dtype(node, node.add(Log(total)), kind.dtype)]


def _as_told(node: OnnxNode, x: Value, kind: Kind) -> Value:
    """A reduction over the axes that the node names, all of them where it names none."""
    if node.known_numbers(1) is None:
        return _over_data(node, x, kind)
    rank = node.tensor(0).rank
    given = node.axes(1)
    if not given:
        given = () if node.attribute("noop_with_empty_axes", 0) else tuple(range(rank))
    axes = {node.axis(a, rank) for a in given}
    return reduced(node, x, kind, sorted(axes), bool(node.attribute("keepdims", 1)))


def _over_data(node: OnnxNode, x: Value, kind: Kind) -> Value:
    """A reduction over axes that the model computes or is given."""
    dims, is_all = tensor(x).dims, not node.attribute("noop_with_empty_axes", 0)
    mask = axes_mask(node, 1, len(dims), all_if_none=is_all)
    kept = parted(node, x, mask).reduce(kind, range(1, 2 * len(dims), 2), keepdims=False)
    if node.attribute("keepdims", 1):
        return kept.value
    rank = 0 if count(node, 1) == ZERO and is_all else result_rank(node, len(dims), -count(node, 1))
    return reshaped_as(node, kept.value, kept_dims(node, dims, mask, rank)).value
