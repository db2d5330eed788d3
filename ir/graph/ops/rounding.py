"""graph.floor, ceil, round: the integer below, above or nearest, as a float.

%y = graph.round %x : f32[n, 64]
"""

from __future__ import annotations

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.graph.sampling import build, some
from headrace.ir.kernel.build import ScalarBuilder


class Rounding(Elementwise):
    """Base: a float that is an integer already stays."""

    x: Value
    dtypes = ("float",)

    def fold(self) -> Value | None:
        return self.x if isinstance(self.x.owner, Rounding) else None  # rounded already

    @classmethod
    def sample(cls, sampler: Sampler) -> Rounding:
        return build(cls, some(sampler, low=-5.0, high=5.0))


@op("graph.floor", onnx=[OnnxForm("Floor", since=6)])
class Floor(Rounding):
    """The largest integer not above x."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.floor(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.floor(*operands)


@op("graph.ceil", onnx=[OnnxForm("Ceil", since=6)])
class Ceil(Rounding):
    """The smallest integer not below x."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.ceil(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.ceil(*operands)


@op("graph.round", onnx=[OnnxForm("Round", since=11)])
class Round(Rounding):
    """The nearest integer, halves to even."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.round(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.rint(*operands)
