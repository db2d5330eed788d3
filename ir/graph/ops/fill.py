"""graph.fill: one number everywhere; ONNX ConstantOfShape becomes this.

%z = graph.fill {dims = [n, 64], value = 0.0, dtype = f32} : f32[n, 64]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, DimCheck, Index, Known, Pull, PullBuilder, Sampler, tensor
from headrace.ir.graph.sampling import pick
from headrace.ir.graph.shape_values import may_be_shape
from headrace.ir.types import F32, DType, TensorType, Type


@op("graph.fill")
class Fill(Pull):
    """A tensor of `value`."""

    dims: tuple[Dim, ...]
    value: float | int | bool
    dtype: DType

    def infer(self) -> Sequence[Type]:
        negative = [d for d in self.dims if d.is_constant and d.value < 0]
        if negative:
            raise self.fail(f"a dim is {negative[0]}, expected 0 or more")
        return [TensorType(self.dtype, self.dims)]

    def checks(self) -> Sequence[DimCheck]:
        return [DimCheck(d, f"a dim of {d} is below 0") for d in self.dims if not d.is_constant]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        return b.constant(self.value, self.dtype)

    def shape_values(self, known: Known) -> Known | None:
        if not may_be_shape(self.result):
            return None
        return [(Dim.constant(int(self.value)),) * tensor(self.result).elements.value]

    def reference(self, *operands: Array) -> Array:
        return np.full([d.value for d in self.dims], self.value, self.dtype.numpy)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        value = w.constant(np.array(self.value, self.dtype.numpy))
        return w.node("Expand", value, w.integers(self.dims))

    @classmethod
    def sample(cls, sampler: Sampler) -> Fill:
        return cls(sampler.dims(pick(sampler, 0, 3)), float(pick(sampler, -2, 2)), F32)
