"""graph.softmax, graph.log_softmax: exponentials that add up to 1 over some dims, or their logarithms.

    %y = graph.softmax %x {axes = [1]} : f32[n, 10]

It decomposes into maximum, difference, exponential, sum and quotient; the maximum keeps it from overflowing.
Before opset 13, ONNX softmax runs over all dims from the axis on, which is why there may be several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph.exporting import OnnxWriter, refuse
from headrace.ir.graph.families import Array, GraphOp, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.arithmetic import Div, Sub
from headrace.ir.graph.ops.cast import in_f32
from headrace.ir.graph.ops.exponential import ExpNonpositive, Log
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.graph.references import through_f64
from headrace.ir.graph.sampling import build, chance, pick
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType, Type


class OverAxes(GraphOp):
    """Base: same type out as in, over some axes."""

    x: Value
    axes: tuple[int, ...]

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if not x.dtype.is_float:
            raise self.wrong_dtype(x.dtype, ("float",))
        if not self.axes or list(self.axes) != sorted(set(self.axes) & set(range(x.rank))):
            raise self.fail(f"axes are {list(self.axes)} for {x}, expected at least one, ascending")
        return [x]

    def below_maximum(self, builder: Builder) -> Value:
        """x - max(x)."""
        largest = builder.add(Reduce(self.x, "max", self.axes, True)).result
        return builder.add(Sub(self.x, largest)).result

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if len(self.axes) > 1:
            raise refuse(self, "several axes, where ONNX has one")
        return w.node(type(self).__name__, self.x, axis=self.axes[0])

    @classmethod
    def sample(cls, sampler: Sampler) -> OverAxes:
        dims = sampler.dims(pick(sampler, 1, 4))
        axes = tuple(i for i in range(len(dims)) if chance(sampler, 0.4)) or (len(dims) - 1,)
        return build(cls, sampler.tensor(TensorType(F32, dims)), axes)


@op("graph.softmax")
class Softmax(OverAxes):
    """exp(x - max x) / sum of these."""

    x: Value
    axes: tuple[int, ...]

    def decompose(self, builder: Builder) -> Sequence[Value]:
        if (wide := in_f32(self, builder)) is not None:
            return wide
        grown = builder.add(ExpNonpositive(self.below_maximum(builder))).result
        total = builder.add(Reduce(grown, "sum", self.axes, True)).result
        return [builder.add(Div(grown, total)).result]

    def reference(self, *operands: Array) -> Array:
        def softmax(x: Array) -> Array:
            grown = np.exp(x - np.max(x, self.axes, keepdims=True, initial=-np.inf))
            return np.asarray(grown / np.sum(grown, self.axes, keepdims=True))

        return through_f64(softmax, *operands)


@op("graph.log_softmax")
class LogSoftmax(OverAxes):
    """x - max x - log of the sum of exp(x - max x)."""

    x: Value
    axes: tuple[int, ...]

    def decompose(self, builder: Builder) -> Sequence[Value]:
        if (wide := in_f32(self, builder)) is not None:
            return wide
        below = self.below_maximum(builder)
        total = builder.add(Reduce(builder.add(ExpNonpositive(below)).result, "sum", self.axes, True)).result
        return [builder.add(Sub(below, builder.add(Log(total)).result)).result]

    def reference(self, *operands: Array) -> Array:
        def log_softmax(x: Array) -> Array:
            below = x - np.max(x, self.axes, keepdims=True, initial=-np.inf)
            return np.asarray(below - np.log(np.sum(np.exp(below), self.axes, keepdims=True)))

        return through_f64(log_softmax, *operands)


@onnx_import("Softmax", "LogSoftmax")
def _flattening(node: OnnxNode) -> Sequence[Value]:
    rank = node.tensor(0).rank
    axis = node.attribute("axis", 1)
    return [_softmax(node, () if axis == rank else tuple(range(node.axis(axis, rank), rank)))]


@onnx_import("Softmax", "LogSoftmax", since=13)
def _along_axis(node: OnnxNode) -> Sequence[Value]:
    return [_softmax(node, (node.axis(node.attribute("axis", -1), node.tensor(0).rank),))]


def _softmax(node: OnnxNode, axes: tuple[int, ...]) -> Value:
    kind = Softmax if node.op_type == "Softmax" else LogSoftmax
    if axes:
        return node.add(build(kind, node.operand(0), axes))
    # Each element is a row of its own.
    raise node.unsupported("axis is the rank, so that every element is 1; expected a dim")
