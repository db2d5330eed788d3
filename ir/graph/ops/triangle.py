"""graph.triangle, graph.eye: what lies on one side of a diagonal of the last two dims, and the diagonal alone.

    %y = graph.triangle %x, %k {upper = true} : f32[n, 64, 64]     // x where column - row >= k, else 0
    %e = graph.eye %x {k = 1, dtype = f32} : f32[n, m]             // 1 where column - row = k, else 0

Without %k the diagonal is the main one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Index, Pull, PullBuilder, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.cast import onnx_dtype
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.types import F32, I64, DType, TensorType, Type


@op("graph.triangle")
class Triangle(Pull):
    """x on and above the k-th diagonal where `upper`, else on and below it; 0 elsewhere."""

    x: Value
    k: Value | None = None
    upper: bool = True

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if x.rank < 2:
            raise self.fail(f"operand is {x}, expected rank 2 or more")
        if self.k is not None and tensor(self.k) != TensorType(I64, ()):
            raise self.fail(f"the diagonal is {self.k.type}, expected i64[]")
        return [x]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        x = b.read(self.x, index)
        right = index[-1] - index[-2]
        if self.k is None:
            kept = b.holds(right if self.upper else -right)
        else:
            kept = b.compare("ge" if self.upper else "le", b.index(right), b.read(self.k, ()))
        return b.select(kept, x, b.constant(0, x))

    def reference(self, *operands: Array) -> Array:
        x, k = operands[0], int(operands[1]) if operands[1:] else 0
        rows, columns = x.shape[-2:]
        right = np.arange(columns)[None, :] - np.arange(rows)[:, None]
        return np.where(right >= k if self.upper else right <= k, x, np.zeros((), x.dtype))

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Trilu", self.x, self.k, upper=self.upper)

    @classmethod
    def sample(cls, sampler: Sampler) -> Triangle:
        x = sampler.tensor(TensorType(F32, sampler.dims(pick(sampler, 2, 4))))
        k = sampler.tensor(TensorType(I64, ()), -0.75, 0.75) if chance(sampler, 0.6) else None
        return cls(x, k, chance(sampler, 0.5))


@op("graph.eye")
class Eye(Pull):
    """1 on the k-th diagonal of a matrix of the dims of x, 0 elsewhere."""

    x: Value
    k: int
    dtype: DType

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if x.rank != 2:
            raise self.fail(f"operand is {x}, expected rank 2")
        return [x.with_dtype(self.dtype)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        apart = index[1] - index[0] - self.k
        return b.cast(b.holds(apart, -apart), self.dtype)

    def reference(self, *operands: Array) -> Array:
        rows, columns = operands[0].shape
        return np.eye(rows, columns, self.k).astype(self.dtype.numpy)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("EyeLike", self.x, k=self.k, dtype=self.dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> Eye:
        dims = sampler.dims(2)
        return cls(sampler.tensor(TensorType(F32, dims)), pick(sampler, -2, 2), I64 if chance(sampler, 0.5) else F32)


@onnx_import("Trilu", since=14)
def _trilu(node: OnnxNode) -> Sequence[Value]:
    k = None if node.input(1) is None else reshaped(node, node.operand(1), ())
    return [node.add(Triangle(node.operand(0), k, bool(node.attribute("upper", 1))))]


@onnx_import("EyeLike", since=9)
def _eye_like(node: OnnxNode) -> Sequence[Value]:
    given = int(node.attribute("dtype", 0))
    dtype = onnx_dtype(node, given) if given else node.tensor(0).dtype
    return [node.add(Eye(node.operand(0), int(node.attribute("k", 0)), dtype))]
