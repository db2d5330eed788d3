"""sin, cos and atan as arithmetic of the kernel dialect.

In: a builder and a scalar or vector of f32 or f64.  Out: the function's value, within 2 ulp of the exact one,
infinities and NaN included (docs/numerics.md has the measured bounds).

sin and cos take multiples of pi/2 off their argument, in f64 whatever its type is, then a polynomial by the quadrant.
That is good for 2^27 multiples: the first three parts of pi/2 have 26 bits, so that their products with such a number
are exact, be they fused with the sum or not.  An argument beyond has no correct digit and gives NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from headrace.ir.core import Value
from headrace.ir.kernel.ops.scalar import LARGEST_ANGLE
from headrace.ir.types import F32, F64, with_lanes
from headrace.passes.lowering import coefficients as table
from headrace.passes.lowering.elementary import Coefficients, Elementary

PARTS_OF_HALF_PI = (1.5707963109016418, 1.5893254712295857e-08, 6.123233932053594e-17, 6.36831716351095e-25)
QUARTER_PI: dict[object, tuple[float, float]] = {  # as a number of that type, and what it lacks
    F32: (0.7853981852531433, -2.1855695031547384e-08),
    F64: (math.pi / 4, 3.061616997868383e-17),
}
SIN: dict[object, Coefficients] = {F32: table.SIN_F32, F64: table.SIN_F64}
COS: dict[object, Coefficients] = {F32: table.COS_F32, F64: table.COS_F64}
ATAN: dict[object, Coefficients] = {F32: table.ATAN_F32, F64: table.ATAN_F64}


class Trigonometric(Elementary):
    """Adds the arithmetic of one function value at a builder."""

    def sin(self) -> Value:
        found = self._of_quadrant(0)
        return self.b.select(self.b.compare("eq", self.x, self.real(0.0)), self.x, found)  # keeps the sign of a zero

    def cos(self) -> Value:
        return self._of_quadrant(1)

    def _of_quadrant(self, shift: int) -> Value:
        """sin(x + shift * pi/2) = sin, cos, -sin or -cos of the rest, by the last two bits of quadrant + shift."""
        b = self.b
        n, rest = self._reduced()
        square = b.mul(rest, rest)
        odd = b.muladd(b.mul(rest, square), self.polynomial(SIN[self.format.real], square), rest)
        even = b.muladd(square, self.real(-0.5), self.real(1.0))
        even = b.muladd(b.mul(square, square), self.polynomial(COS[self.format.real], square), even)
        quadrant = b.add(b.cast(n, self.format.signed), self.integer(shift))
        swaps = b.compare("ne", b.bit_and(quadrant, self.integer(1)), self.integer(0))
        negates = b.compare("ne", b.bit_and(quadrant, self.integer(2)), self.integer(0))
        found = b.select(swaps, even, odd)
        found = b.select(negates, b.neg(found), found)
        fits = b.compare("le", b.abs(self.x), self.real(LARGEST_ANGLE))
        return b.select(fits, found, self.real(math.nan))

    def _reduced(self) -> tuple[Value, Value]:
        """(n, r) with x = n * pi/2 + r and |r| little more than pi/4; n is an f64."""
        b = self.b
        wide = b.cast(self.x, F64)
        like = with_lanes(F64, self.lanes)
        n = b.round(b.mul(wide, b.constant(2 / math.pi, like)))
        for part in PARTS_OF_HALF_PI:
            wide = b.muladd(n, b.constant(-part, like), wide)
        return n, b.cast(wide, self.format.real)

    def atan(self) -> Value:
        """By the angle between |x| and 0, 1 or infinity, whichever is nearest, with the sign of x."""
        b = self.b
        x, one = b.abs(self.x), self.real(1.0)
        near, middle = (b.compare("lt", x, self.real(c)) for c in (math.tan(math.pi / 8), math.tan(3 * math.pi / 8)))
        above = b.select(middle, b.sub(x, one), self.real(-1.0))
        below = b.select(middle, b.add(x, one), x)
        t = b.select(near, x, b.div(above, below))
        square = b.mul(t, t)
        angle = b.muladd(b.mul(t, square), self.polynomial(ATAN[self.format.real], square), t)
        high, low = (b.select(middle, self.real(c), self.real(2 * c)) for c in QUARTER_PI[self.format.real])
        found = b.add(high, b.add(angle, low))
        return self.with_sign(b.select(near, angle, found))


FUNCTIONS: dict[str, Callable[[Trigonometric], Value]] = {
    "kernel.sin": Trigonometric.sin,
    "kernel.cos": Trigonometric.cos,
    "kernel.atan": Trigonometric.atan,
}
