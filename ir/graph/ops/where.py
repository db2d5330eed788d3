"""graph.where: an element of one operand or the other, as a bool says; all three broadcast.

%y = graph.where %condition, %x, %y : f32[n, 64]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.dims import Dim
from headrace.ir.graph import shape_values
from headrace.ir.graph.families import Array, Elementwise, Known, Sampler, tensor
from headrace.ir.graph.sampling import broadcast_shapes
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import BOOL, F32, TensorType, Type


@op("graph.where", onnx=[OnnxForm("Where", since=9)])
class Where(Elementwise):
    """x where the condition holds, y elsewhere."""

    condition: Value
    x: Value
    y: Value

    def infer(self) -> Sequence[Type]:
        condition, x, y = (tensor(o) for o in self.operands)
        if condition.dtype != BOOL or x.dtype != y.dtype:
            raise self.fail(f"operands are {condition}, {x} and {y}, expected bool and two of one element type")
        return [self.broadcast([x, y, condition])]

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.select(*xs)

    def shape_values(self, known: Known) -> Known | None:
        return shape_values.elementwise(self, known, _chosen)

    def reference(self, *operands: Array) -> Array:
        return np.where(*operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Where:
        a, b, c = broadcast_shapes(sampler, 3)
        x, y = (sampler.tensor(TensorType(F32, dims)) for dims in (b, c))
        return cls(sampler.tensor(TensorType(BOOL, a)), x, y)


def _chosen(condition: Dim, x: Dim, y: Dim) -> Dim | None:
    if x == y:
        return x
    if not condition.is_constant:
        return None
    return x if condition.value else y
