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
from headrace.ir.dims import Dim, ceildiv, dim_max
from headrace.ir.graph.families import Array, Index, Known, Pull, PullBuilder, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO, linear
from headrace.ir.graph.sampling import pick
from headrace.ir.graph.shape_values import may_be_shape
from headrace.ir.types import I64, DType, TensorType, Type

MOST_FLOATS = 2**20  # of a range of floats, which becomes a constant


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


@onnx_import("Range", since=11)
def _range(node: OnnxNode) -> Sequence[Value]:
    dtype = node.tensor(0).dtype
    if dtype.is_float:
        return [node.add_constant(_float_range(node, dtype))]
    known = [node.shape_value(i) for i in range(3)]
    if any(k is None for k in known):
        raise node.unsupported("start, limit or step are data, expected integers that are known while compiling")
    start, limit, step = (k[0] for k in known if k is not None)
    if not step.is_constant or step == ZERO:
        raise node.unsupported(f"the step is {step}, expected a constant other than 0")
    span = limit - start if step.value > 0 else start - limit
    count = node.simplify(dim_max(ceildiv(span, abs(step.value)), 0))
    return [node.add(Range(start, step, count, dtype))]


def _float_range(node: OnnxNode, dtype: DType) -> Array:
    """The numbers; ONNX counts them as ceil((limit - start) / step) in the element type."""
    given = [node.constant(i) for i in range(3)]
    if any(n is None for n in given):
        raise node.unsupported("start, limit or step are data, expected numbers that are known while compiling")
    start, limit, step = (n.reshape(()) for n in given if n is not None)
    with np.errstate(all="ignore"):
        count = np.ceil((limit - start) / step)
    if not np.isfinite(count):
        raise node.fail(f"no range from {start} to {limit} in steps of {step}")
    if count > MOST_FLOATS:
        raise node.unsupported(f"a constant range of {count:.0f} numbers, expected at most {MOST_FLOATS}")
    return np.asarray(start + np.arange(max(int(count), 0)).astype(dtype.numpy) * step).astype(dtype.numpy)
