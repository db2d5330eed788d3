"""graph.formulas: integers that follow from the dims; ONNX Shape, Size and Range become this.

    %s = graph.formulas {values = [n, 3, h floordiv 2], dims = [3], dtype = i64} : i64[3]
    %r = graph.range {start = 0, step = 1, count = n, dtype = i64} : i64[n]

`values` are the elements, row-major.  `range` has element start + i * step at i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter, refuse
from headrace.ir.graph.families import Array, Index, Known, Pull, PullBuilder, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import linear
from headrace.ir.graph.sampling import pick
from headrace.ir.graph.shape_values import may_be_shape
from headrace.ir.types import I64, DType, TensorType, Type


@op("graph.formulas")
class Formulas(Pull):
    """A tensor of formulas."""

    values: tuple[Dim, ...]
    dims: tuple[int, ...]
    dtype: DType = I64

    def infer(self) -> Sequence[Type]:
        if not self.dtype.is_integer or len(self.values) != int(np.prod(self.dims, dtype=np.int64)):
            raise self.fail(f"{len(self.values)} values of {self.dtype} for the dims {list(self.dims)}")
        return [TensorType.of(self.dtype, *self.dims)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        place = linear(index, tensor(self.result).dims)
        if not self.values:
            return b.constant(0, self.dtype)
        found = b.index(self.values[0], self.dtype)
        for number, value in enumerate(self.values[1:], 1):
            found = b.select(b.holds(place - number), b.index(value, self.dtype), found)
        return found

    def shape_values(self, known: Known) -> Known | None:
        return [self.values]

    def reference(self, *operands: Array) -> Array:
        return np.array([v.value for v in self.values], self.dtype.numpy).reshape(self.dims)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        shape = w.constant(np.array(self.dims, np.int64))
        (found,) = w.node("Reshape", w.integers(self.values), shape, allowzero=1)
        return w.node("Cast", found, to=self.dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> Formulas:
        dims = (pick(sampler, 0, 3), pick(sampler, 1, 2))
        return cls(tuple(sampler.dims(1)[0] * 2 + 1 for _ in range(dims[0] * dims[1])), dims)


@op("graph.range")
class Range(Pull):
    """start, start + step, ...: `count` numbers."""

    start: Dim
    step: Dim
    count: Dim
    dtype: DType = I64

    def infer(self) -> Sequence[Type]:
        if not self.dtype.is_integer:
            raise self.fail(f"dtype is {self.dtype}, expected an integer type")
        return [TensorType(self.dtype, (self.count,))]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        return b.index(self.start + index[0] * self.step, self.dtype)

    def shape_values(self, known: Known) -> Known | None:
        if not may_be_shape(self.result):
            return None
        return [tuple(self.start + self.step * i for i in range(self.count.value))]

    def reference(self, *operands: Array) -> Array:
        return (self.start.value + np.arange(self.count.value) * self.step.value).astype(self.dtype.numpy)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if self.step == 0:
            raise refuse(self, "a step of 0")
        ends = [self.start, self.start + self.step * self.count, self.step]
        shape = w.constant(np.array([], np.int64))
        parts = [w.node("Reshape", w.integers([e]), shape)[0] for e in ends]
        return w.node("Cast", *w.node("Range", *parts), to=self.dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> Range:
        start, step = (Dim.constant(pick(sampler, -2, 2)) for _ in range(2))
        return cls(start, step, sampler.dims(1)[0])


@onnx_import("Shape")
def _shape(node: OnnxNode) -> Sequence[Value]:
    kind = node.tensor(0)
    start, end = node.attribute("start", 0), node.attribute("end", kind.rank)
    dims = kind.dims[slice(start, end)]  # negative and too large ones as Python has them, which is as ONNX does
    return [node.add(Formulas(dims, (len(dims),)))]


@onnx_import("Size")
def _size(node: OnnxNode) -> Sequence[Value]:
    return [node.add(Formulas((node.tensor(0).elements,), ()))]
