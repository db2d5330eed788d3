"""graph.batch_norm, graph.layer_norm: scaled and shifted by statistics, given ones or the tensor's own.

    %y = graph.batch_norm %x, %scale, %bias, %mean, %variance {epsilon = 1e-05} : f32[n, 64, 56, 56]
    %z = graph.layer_norm %x, %scale, %bias {axis = 2, epsilon = 1e-05} : f32[n, 128, 768]

Both decompose into arithmetic: the first into one factor and one addend a channel (dim 1), which
graph.fold-batch-norm puts into the weights before it; the second into means over the dims from `axis` on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph.compose import Term
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import (
    Array,
    DimCheck,
    GraphOp,
    Sampler,
    broadcast_checks,
    broadcast_dims,
    must_be_equal,
    tensor,
)
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.arithmetic import Add, Div, Mul, Sub
from headrace.ir.graph.ops.cast import in_f32
from headrace.ir.graph.ops.exponential import Sqrt
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.sampling import build, chance, pick
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType, Type


@op("graph.batch_norm")
class BatchNorm(GraphOp):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, a number each per channel."""

    x: Value
    scale: Value
    bias: Value
    mean: Value
    variance: Value
    epsilon: float = 1e-5

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if not x.dtype.is_float:
            raise self.wrong_dtype(x.dtype, ("float",))
        if x.rank < 2:
            raise self.fail(f"operand is {x}, expected rank 2 or more")
        for value in self.operands[1:]:
            kind = tensor(value)
            if kind.rank != 1 or not kind.dtype.is_float:
                raise self.fail(f"a statistic is {kind}, expected {x.dtype}[{x.dims[1]}]")
            if kind.dtype != x.dtype:
                raise self.wrong_dtype(kind.dtype, (x.dtype.name,))
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)
        return [x]

    def checks(self) -> Sequence[DimCheck]:
        channels = tensor(self.x).dims[1]
        found: list[DimCheck] = []
        for value in self.operands[1:]:
            found += must_be_equal(channels, tensor(value).dims[0], f"{value.type} for {channels} channels")
        return tuple(dict.fromkeys(found))

    def decompose(self, builder: Builder) -> Sequence[Value]:
        x = tensor(self.x)
        epsilon = builder.add(Fill((), self.epsilon, x.dtype)).result
        spread = builder.add(Sqrt(builder.add(Add(self.variance, epsilon)).result)).result
        factor = builder.add(Div(self.scale, spread)).result
        addend = builder.add(Sub(self.bias, builder.add(Mul(self.mean, factor)).result)).result
        dims = (x.dims[1], *[ONE] * (x.rank - 2))
        factor, addend = (builder.add(Reshape(v, dims)).result for v in (factor, addend))
        return [builder.add(Add(builder.add(Mul(self.x, factor)).result, addend)).result]

    def reference(self, *operands: Array) -> Array:
        x, *statistics = operands
        wide = [s.astype(np.float64).reshape(-1, *[1] * (x.ndim - 2)) for s in statistics]
        scale, bias, mean, variance = wide
        with np.errstate(all="ignore"):
            found = (x - mean) / np.sqrt(variance + self.epsilon) * scale + bias
        return np.asarray(found).astype(x.dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("BatchNormalization", *self.operands, epsilon=self.epsilon)

    @classmethod
    def sample(cls, sampler: Sampler) -> BatchNorm:
        dims = sampler.dims(pick(sampler, 2, 4))
        parts = [sampler.tensor(TensorType(F32, dims[1:2]), low) for low in (-2.0, -2.0, -2.0, 0.25)]
        return build(cls, sampler.tensor(TensorType(F32, dims)), *parts)


@op("graph.layer_norm")
class LayerNorm(GraphOp):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, mean and variance over the dims from `axis` on."""

    x: Value
    scale: Value
    bias: Value | None
    axis: int
    epsilon: float = 1e-5

    def infer(self) -> Sequence[Type]:
        kinds = [tensor(o) for o in self.operands]
        x = kinds[0]
        if not x.dtype.is_float:
            raise self.wrong_dtype(x.dtype, ("float",))
        self.check_axis(self.axis, x)
        dims = x.dims
        for kind in kinds[1:]:
            if kind.dtype != x.dtype:
                raise self.wrong_dtype(kind.dtype, (x.dtype.name,))
            try:
                dims = broadcast_dims([dims, kind.dims])
            except ValueError:
                raise self.fail(f"scale or bias is {kind}, which does not broadcast to {x}") from None
        apart = [a - b for a, b in zip(x.dims, dims, strict=False)]
        if len(dims) > x.rank or any(d.is_constant and d.value for d in apart):
            raise self.fail(f"scale or bias is {kinds[-1]}, which does not broadcast to {x}")
        return [x.with_dims(dims)]

    def checks(self) -> Sequence[DimCheck]:
        x, result = tensor(self.x).dims, tensor(self.result).dims
        found = list(broadcast_checks([tensor(o).dims for o in self.operands[1:]], result))
        for d, r in zip(x, result, strict=True):
            found += must_be_equal(d, r, f"scale and bias would make the dim {d} of {self.x.type} larger")
        return tuple(dict.fromkeys(found))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(self.axis, tensor(self.x).rank))

    def decompose(self, builder: Builder) -> Sequence[Value]:
        if (wide := in_f32(self, builder)) is not None:
            return wide
        mean = builder.add(Reduce(self.x, "mean", self._axes, True)).result
        apart = builder.add(Sub(self.x, mean)).result
        square = builder.add(Mul(apart, apart)).result
        variance = builder.add(Reduce(square, "mean", self._axes, True)).result
        epsilon = builder.add(Fill((), self.epsilon, tensor(self.x).dtype)).result
        spread = builder.add(Sqrt(builder.add(Add(variance, epsilon)).result)).result
        found = builder.add(Mul(builder.add(Div(apart, spread)).result, self.scale)).result
        return [found if self.bias is None else builder.add(Add(found, self.bias)).result]

    def reference(self, *operands: Array) -> Array:
        x, scale = (o.astype(np.float64) for o in operands[:2])
        count = np.float64(np.prod(x.shape[self.axis :]))  # perhaps 0, of which numpy's mean would warn
        apart = x - x.sum(self._axes, keepdims=True) / count
        spread = np.sqrt((apart * apart).sum(self._axes, keepdims=True) / count + self.epsilon)
        found = apart / spread * scale + (operands[2] if self.bias is not None else 0)
        return np.asarray(found).astype(operands[0].dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("LayerNormalization", *self.operands, axis=self.axis, epsilon=self.epsilon)

    @classmethod
    def sample(cls, sampler: Sampler) -> LayerNorm:
        dims = sampler.dims(pick(sampler, 1, 3))
        axis = pick(sampler, 0, len(dims) - 1)
        x, scale, bias = (sampler.tensor(TensorType(F32, d)) for d in (dims, dims[axis:], dims[axis:]))
        return cls(x, scale, bias if chance(sampler, 0.5) else None, axis)


@onnx_import("BatchNormalization", since=7)
def _batch_norm(node: OnnxNode) -> Sequence[Value]:
    if not node.attribute("spatial", 1):
        raise node.unsupported("spatial is 0, expected 1")
    if node.attribute("training_mode", 0):
        return _training_batch_norm(node)
    if any(node.wants(i) for i in range(1, node.output_count)):
        raise node.unsupported("the running statistics are used, expected one output")
    parts = [node.operand(i) for i in range(5)]
    return [node.add(build(BatchNorm, *parts, node.attribute("epsilon", 1e-5)))]


def _training_batch_norm(node: OnnxNode) -> Sequence[Value]:
    """By the statistics of the batch, which the running ones approach by `momentum`."""
    x, momentum = Term(node, node.operand(0)), node.attribute("momentum", 0.9)
    axes = [a for a in range(x.rank) if a != 1]
    apart = x - x.reduce("mean", axes)
    found = x.reduce("mean", axes, False), (apart * apart).reduce("mean", axes, False)
    parts = node.operand(1), node.operand(2), *(s.value for s in found)
    y = node.add(build(BatchNorm, x.value, *parts, node.attribute("epsilon", 1e-5)))
    olds = (Term(node, node.operand(i)) for i in (3, 4))
    return [y, *((old * momentum + new * (1 - momentum)).value for old, new in zip(olds, found, strict=True))]


@onnx_import("LayerNormalization", since=17)
def _layer_norm(node: OnnxNode) -> Sequence[Value]:
    if any(node.wants(i) for i in range(1, node.output_count)):
        raise node.unsupported("mean or deviation are used, expected one output")
    axis = node.axis(node.attribute("axis", -1), node.tensor(0).rank)
    epsilon = node.attribute("epsilon", 1e-5)
    return [node.add(LayerNorm(node.operand(0), node.operand(1), node.input(2), axis, epsilon))]
