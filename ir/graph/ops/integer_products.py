"""ONNX products of small integers: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv.

    (a - zero of a) @ (b - zero of b)                        in i32
    round(that * (scale of a * scale of b / scale of y)) + zero of y, saturating

The sums are exact, as those of graph.matmul and graph.conv on i32 are.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.quantize import Quantize
from headrace.ir.graph.sampling import build
from headrace.ir.graph.windows import windows_of
from headrace.ir.types import F32, I32


@onnx_import("MatMulInteger", since=10)
def _matmul_integer(node: OnnxNode) -> Sequence[Value]:
    left = _without_zero(node, 0, 2, 0)
    return [(left @ _without_zero(node, 1, 3, -1)).value]


@onnx_import("QLinearMatMul", since=10)
def _qlinear_matmul(node: OnnxNode) -> Sequence[Value]:
    product = _without_zero(node, 0, 2, 0) @ _without_zero(node, 3, 5, -1)
    scales = [_spread(Term(node, node.operand(i)), place, product.rank) for i, place in ((1, 0), (4, -1), (6, -1))]
    return [_requantized(node, product, scales, 7).value]


@onnx_import("ConvInteger", since=10)
def _conv_integer(node: OnnxNode) -> Sequence[Value]:
    return [_conv(node, _without_zero(node, 0, 2, None), _without_zero(node, 1, 3, 1), None).value]


@onnx_import("QLinearConv", since=10)
def _qlinear_conv(node: OnnxNode) -> Sequence[Value]:
    bias = node.input(8)
    found = _conv(node, _without_zero(node, 0, 2, None), _without_zero(node, 3, 5, 1), bias)
    channel = Term(node, node.operand(4)).reshape(node.tensor(4).elements, *[1] * (found.rank - 2))
    scales = [Term(node, node.operand(1)).reshape(), channel, Term(node, node.operand(6)).reshape()]
    return [_requantized(node, found, scales, 7).value]


def _without_zero(node: OnnxNode, number: int, zero: int, place: int | None) -> Term:
    """An operand as i32, less its zero point: one number, or one for each row, column or feature."""
    x = Term(node, node.operand(number)).cast(I32)
    if node.input(zero) is None:
        return x
    point = Term(node, node.operand(zero)).cast(I32)
    return x - (point.reshape() if place is None else _spread(point, place, x.rank))


def _spread(point: Term, place: int, rank: int) -> Term:
    """Numbers for each row (0), column (-1) or feature (1), in dims that broadcast against rank `rank`."""
    if point.rank == 0 or point.dims == (ONE,):
        return point.reshape()
    if point.rank > 1 or place == -1:
        return point
    return point.reshape(*point.dims, *[1] * (1 if place == 0 else rank - 1))


def _conv(node: OnnxNode, x: Term, w: Term, bias: Value | None) -> Term:
    if x.rank < 3 or x.rank != w.rank:
        raise node.fail(f"inputs are {x.type} and {w.type}, expected one rank of 3 or more")
    windows = windows_of(node, x.dims[2:], w.dims[2:])
    strides, dilations, before, after = (
        tuple(getattr(v, name) for v in windows) for name in ("stride", "dilation", "before", "after")
    )
    groups = node.attribute("group", 1)
    return x.of(build(Conv, x.value, w.value, bias, strides, dilations, before, after, groups))


def _requantized(node: OnnxNode, x: Term, scales: Sequence[Term], zero: int) -> Term:
    """x times the first scales over the last, as the integers of the zero point; in f32 whatever the scales are."""
    left, right, out = (s.cast(F32) for s in scales)
    real = x.cast(F32) * (left * right / out)
    point = Term(node, node.operand(zero))
    return x.of(Quantize(real.value, real.like(1).value, _spread(point, -1, x.rank).value, point.dtype))
