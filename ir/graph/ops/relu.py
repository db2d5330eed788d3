"""graph.relu: the larger of x and zero, element by element.

    %y = graph.relu %x : f32[1, 64, 56, 56]

A NaN stays a NaN, as in ONNX.
"""

from __future__ import annotations

import numpy as np

from headrace.ir.core import Value, producer
from headrace.ir.declare import op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, TensorType


@op("graph.relu", onnx="Relu")
class Relu(Elementwise):
    """max(x, 0)."""

    x: Value

    def fold(self) -> Value | None:
        return self.x if producer(self.x, Relu) else None  # already clipped

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.maximum(xs[0], b.constant(0, xs[0]))

    def reference(self, *operands: Array) -> Array:
        return np.maximum(operands[0], 0)

    @classmethod
    def sample(cls, sampler: Sampler) -> Relu:
        return cls(sampler.tensor(TensorType(F32, sampler.dims(int(sampler.rng.integers(0, 4))))))
