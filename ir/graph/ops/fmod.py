"""graph.fmod: what the quotient of two floats, cut towards zero or rounded down, leaves.

    %y = graph.fmod %a, %b {floors = false} : f32[n, 64]

With the sign of %a, exact; or, with `floors`, the sign of %b, rounded once.  NaN where %b is 0 or %a infinite.  f64:
where the quotient is below 2^600.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph.exporting import OnnxWriter, refuse
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.graph.sampling import broadcast_operands, chance
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F64, I64, element_dtype

PASSES = {"f16": 2, "bf16": 12, "f32": 12, "f64": 24}  # the largest number over the smallest, but for f64
MOST = 1e300  # quotient of one pass
FIRST_26 = -(1 << 27)  # a mask of the bits of an f64


@op("graph.fmod")
class FMod(Elementwise):
    """a - trunc(a / b) * b, or floor in place of trunc."""

    a: Value
    b: Value
    floors: bool = False
    dtypes = ("float",)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        """In f64.  A pass cuts the quotient to 26 bits, so that its products with both halves of the divisor are
        exact, and so are the differences.  A quotient that was rounded up leaves a negative rest, which the next pass
        mends."""
        dtype = element_dtype(xs[0].type)
        a, x, y = b.cast(xs[0], F64), b.abs(b.cast(xs[0], F64)), b.abs(b.cast(xs[1], F64))
        zero, infinity, nan = (b.constant(c, x) for c in (0.0, np.inf, np.nan))
        high = self._leading(b, y)
        low, rest = b.sub(y, high), x
        for _ in range(PASSES[dtype.name]):
            quotient = b.minimum(b.div(rest, y), b.constant(MOST, x))
            whole = b.select(b.compare("lt", quotient, zero), b.ceil(quotient), b.floor(quotient))
            part = self._leading(b, whole)
            rest = b.sub(b.sub(rest, b.mul(part, high)), b.mul(part, low))
        rest = b.select(b.compare("lt", rest, zero), b.add(rest, y), rest)
        rest = b.select(b.compare("ge", rest, y), b.sub(rest, y), rest)
        rest = b.select(b.compare("eq", y, infinity), x, rest)
        wrong = b.bit_or(b.compare("eq", x, infinity), b.compare("eq", y, zero))
        rest = b.select(wrong, nan, rest)
        rest = b.select(b.compare("lt", a, zero), b.neg(rest), rest)
        if self.floors:
            divisor = b.cast(xs[1], F64)
            apart = b.compare("ne", b.compare("lt", rest, zero), b.compare("lt", divisor, zero))
            rest = b.select(b.bit_and(b.compare("ne", rest, zero), apart), b.add(rest, divisor), rest)
        return b.cast(rest, dtype)

    def _leading(self, b: ScalarBuilder, x: Value) -> Value:
        """x cut to its first 26 bits."""
        bits = b.bitcast(x, I64)
        return b.bitcast(b.bit_and(bits, b.constant(FIRST_26, bits)), F64)

    def reference(self, *operands: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray((np.mod if self.floors else np.fmod)(*operands))

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if self.floors:
            raise refuse(self, "ONNX's is cut towards zero")
        return w.node("Mod", self.a, self.b, fmod=1)

    @classmethod
    def sample(cls, sampler: Sampler) -> FMod:
        a, b = broadcast_operands(sampler, 2)
        return cls(a, b, chance(sampler, 0.5))
