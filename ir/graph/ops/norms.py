"""ONNX normalisations that are a few lines of arithmetic: Lp, LRN, instance.

LpNormalization        x / (sum |x|^p)^(1/p) along an axis; 0 where all are 0
LRN                    x / (bias + alpha * mean of x^2 over neighbouring channels)^beta
InstanceNormalization  (x - mean) / sqrt(variance + epsilon) * scale + bias, statistics of each channel of a sample
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.exponential import Pow
from headrace.ir.graph.ops.pool import AveragePool


@onnx_import("LpNormalization")
def _lp_norm(node: OnnxNode) -> Sequence[Value]:
    x, p = Term(node, node.operand(0)), node.attribute("p", 2)
    axis = node.axis(node.attribute("axis", -1), x.rank)
    if p not in (1, 2):
        raise node.fail(f"p is {p}, expected 1 or 2")
    norm = abs(x).reduce("sum", [axis]) if p == 1 else (x * x).reduce("sum", [axis]).sqrt()
    return [norm.compare("eq", 0).where(0, x / norm).value]


@onnx_import("LRN")
def _local_response(node: OnnxNode) -> Sequence[Value]:
    x, size = Term(node, node.operand(0)), int(node.attribute("size", 1))
    if x.rank < 2:
        raise node.fail(f"input is {x.type}, expected rank 2 or more")
    batch, channels, *spatial = x.dims
    area = ONE
    for d in spatial:
        area = area * d
    squares = (x * x).reshape(batch, 1, channels, area)
    before = Dim.constant((size - 1) // 2), ZERO
    after = Dim.constant(size - 1 - (size - 1) // 2), ZERO
    pool = AveragePool(squares.value, (size, 1), (1, 1), (1, 1), before, after, count_include_pad=True)
    mean = x.of(pool).reshape(*x.dims)
    base = mean * node.attribute("alpha", 1e-4) + node.attribute("bias", 1.0)
    return [(x / x.of(Pow(base.value, x.like(node.attribute("beta", 0.75)).value))).value]


@onnx_import("InstanceNormalization", since=6)
def _instance_norm(node: OnnxNode) -> Sequence[Value]:
    x, scale, bias = (Term(node, node.operand(i)) for i in range(3))
    if x.rank < 3:
        raise node.fail(f"input is {x.type}, expected rank 3 or more")
    axes, channel = range(2, x.rank), (x.dims[1], *[ONE] * (x.rank - 2))
    apart = x - x.reduce("mean", axes)
    spread = ((apart * apart).reduce("mean", axes) + node.attribute("epsilon", 1e-5)).sqrt()
    return [(apart / spread * scale.reshape(*channel) + bias.reshape(*channel)).value]
