"""graph.squared_relu: the square of what relu leaves.

    %y = graph.squared_relu %x : f32[n, 64]

ONNX has no such operator; models write SquaredRelu of the domain `npu.example`, or a product of a Relu with itself,
which `graph.npu-square-relu` finds.  Both CPU and NPU take it, since `scalar` says it all.
"""

from __future__ import annotations

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, TensorType


@op("graph.squared_relu", onnx=OnnxForm("SquaredRelu", domain="npu.example"))
class SquaredRelu(Elementwise):
    """max(x, 0) * max(x, 0)."""

    x: Value
    dtypes = ("float",)
    several_steps = True

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        positive = b.maximum(xs[0], b.constant(0, xs[0]))
        return b.mul(positive, positive)

    def reference(self, *operands: Array) -> Array:
        return np.maximum(operands[0], 0) ** 2

    @classmethod
    def sample(cls, sampler: Sampler) -> SquaredRelu:
        return cls(sampler.tensor(TensorType(F32, sampler.dims(2))))
