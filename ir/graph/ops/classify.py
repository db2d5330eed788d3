"""graph.is_nan, graph.is_inf, graph.sign: what kind of number an element is.

%y = graph.is_inf %x {positive = true, negative = false} : bool[n, 64]
%z = graph.sign %x : f32[n, 64]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Elementwise, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.sampling import chance, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import BOOL, F32, I32, Type, element_dtype


class _Test(Elementwise):
    """Base of the operations whose result is bool."""

    dtypes = ("float",)

    def infer(self) -> Sequence[Type]:
        super().infer()
        return [tensor(self.operands[0]).with_dtype(BOOL)]


@op("graph.is_nan", onnx=[OnnxForm("IsNaN", since=9)])
class IsNaN(_Test):
    """Whether x is no number."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.compare("ne", xs[0], xs[0])

    def reference(self, *operands: Array) -> Array:
        return np.isnan(operands[0])

    @classmethod
    def sample(cls, sampler: Sampler) -> IsNaN:
        return cls(some(sampler))


@op("graph.is_inf")
class IsInf(_Test):
    """Whether x is an infinity of a sign that counts."""

    x: Value
    positive: bool = True
    negative: bool = True

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        signs = [s for s, counts in ((1, self.positive), (-1, self.negative)) if counts]
        found = [b.compare("eq", xs[0], b.constant(s * np.inf, xs[0])) for s in signs]
        if not found:
            return b.constant(False, BOOL)
        return found[0] if len(found) == 1 else b.bit_or(*found)

    def reference(self, *operands: Array) -> Array:
        found = np.isinf(operands[0])
        return found & (((operands[0] > 0) & self.positive) | ((operands[0] < 0) & self.negative))

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("IsInf", self.x, detect_positive=self.positive, detect_negative=self.negative)

    @classmethod
    def sample(cls, sampler: Sampler) -> IsInf:
        return cls(some(sampler), chance(sampler, 0.5), chance(sampler, 0.5))


@op("graph.sign", onnx=[OnnxForm("Sign", since=9)])
class Sign(Elementwise):
    """1, 0 or -1; NaN for NaN."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = xs[0]
        zero, one = b.constant(0, x), b.constant(1, x)
        found = b.select(b.compare("gt", x, zero), one, x)  # 0 and NaN are their own signs
        if element_dtype(x.type).kind == "uint":
            return found
        return b.select(b.compare("lt", x, zero), b.constant(-1, x), found)

    def reference(self, *operands: Array) -> Array:
        return np.sign(operands[0])

    @classmethod
    def sample(cls, sampler: Sampler) -> Sign:
        return cls(some(sampler, F32 if chance(sampler, 0.5) else I32))


@onnx_import("IsInf", since=10)
def _is_inf(node: OnnxNode) -> Sequence[Value]:
    positive, negative = (bool(node.attribute(f"detect_{s}", 1)) for s in ("positive", "negative"))
    return [node.add(IsInf(node.operand(0), positive, negative))]
