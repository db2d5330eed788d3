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
from headrace.ir.graph.families import Array, Index, Known, Pull, PullBuilder, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.expand import ExpandDynamic
from headrace.ir.graph.sampling import pick
from headrace.ir.graph.shape_values import may_be_shape
from headrace.ir.types import F32, DType, TensorType, Type, dtype_of


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


@onnx_import("ConstantOfShape", since=9)
def _constant_of_shape(node: OnnxNode) -> Sequence[Value]:
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    if value.size != 1:
        raise node.fail(f"the value has {value.size} elements, expected 1")
    dims, shape = node.shape_value(0), node.tensor(0)
    if dims is not None:
        return [node.add(Fill(dims, value.reshape(()).item(), dtype_of(value)))]
    if shape.rank != 1 or not shape.is_static:
        raise node.unsupported(f"the shape is {shape}, so the rank of the result is data")
    one = node.add(Fill((), value.reshape(()).item(), dtype_of(value)))
    symbols = tuple(node.symbol(f"{node.name}_{i}") for i in range(shape.dims[0].value))
    return [node.add(ExpandDynamic(one, node.operand(0), symbols))]
