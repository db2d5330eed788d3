"""exp, log, tanh and erf as arithmetic of the kernel dialect.

In: a builder and a scalar or vector of f32 or f64.  Out: the function's value, within 2 ulp of the exact one over all
floats, denormals, infinities and NaN included (docs/numerics.md has the measured bounds).  No branch and no table:
each is a reduction of the argument to a short interval, a polynomial there, and selects.

`muladd` may round once or twice; the bounds hold for both.  In the reductions, products with the leading part of
ln 2 are exact, since it has few enough bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.ir.core import Value
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, F64, I32, I64, U32, U64, DType, element_dtype, lanes_of, with_lanes
from headrace.passes.lowering import coefficients as table

Coefficients = Sequence[float]


@dataclass(frozen=True, slots=True)
class Format:
    """A float format: its bits, and the constants that depend on them."""

    real: DType
    signed: DType
    unsigned: DType
    mantissa: int  # bits after the leading one
    bias: int
    ln2_high: float  # leading bits of ln 2: times any exponent it is exact
    ln2_low: float
    exp_low: float  # exp gives 0 from here down
    exp_high: float  # and infinity from here up
    tanh_end: float  # tanh gives 1 from here up
    erf_end: float
    exp: Coefficients
    log: Coefficients
    tanh: Coefficients
    erf: Coefficients
    log_erfc: Coefficients

    @property
    def shifter(self) -> float:
        """Added to a small number, it rounds that to an integer n; n + bias then stands in the lowest bits."""
        return 1.5 * 2.0**self.mantissa + self.bias

    @property
    def middle(self) -> int:
        """Half the range of exponents."""
        return self.bias + 1 >> 1

    @property
    def sign_bit(self) -> int:
        return 1 << self.real.bits - 1

    @property
    def root_half_bits(self) -> int:
        """The bits of the square root of 1/2."""
        fraction = math.isqrt(1 << 2 * self.mantissa + 1) - (1 << self.mantissa)
        return (self.bias - 1 << self.mantissa) + fraction


FORMATS = {
    F32: Format(
        F32, I32, U32, 23, 127, 0.693145751953125, 1.428606820309417e-06, -104.0, 89.0, 10.0, 3.95,
        table.EXP_F32, table.LOG_F32, table.TANH_F32, table.ERF_F32, table.LOG_ERFC_F32,
    ),
    F64: Format(
        F64, I64, U64, 52, 1023, 0.6931471803691238, 1.9082149292705877e-10, -746.0, 710.0, 20.0, 5.95,
        table.EXP_F64, table.LOG_F64, table.TANH_F64, table.ERF_F64, table.LOG_ERFC_F64,
    ),
}  # fmt: skip


class Elementary:
    """Adds the arithmetic of one function value at a builder."""

    def __init__(self, builder: ScalarBuilder, x: Value) -> None:
        self.b = builder
        self.x = x
        self.format = FORMATS[element_dtype(x.type)]
        self.lanes = lanes_of(x.type)

    def real(self, value: float) -> Value:
        return self.b.constant(value, self.x)

    def integer(self, value: int) -> Value:
        return self.b.constant(value, with_lanes(self.format.signed, self.lanes))

    def bits(self, x: Value) -> Value:
        return self.b.bitcast(x, self.format.signed)

    def of_bits(self, x: Value) -> Value:
        return self.b.bitcast(x, self.format.real)

    def polynomial(self, coefficients: Coefficients, x: Value) -> Value:
        """By Horner's rule: a loop over many vectors hides its latency, so pairing terms gained nothing."""
        total = self.real(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = self.b.muladd(total, x, self.real(c))
        return total

    def paired_polynomial(self, coefficients: Coefficients, x: Value, square: Value) -> Value:
        """By pairs of terms: a shorter chain, where the square is there anyway."""
        b = self.b
        pairs = [coefficients[i : i + 2] for i in range(0, len(coefficients), 2)]
        terms = [b.muladd(self.real(p[1]), x, self.real(p[0])) if len(p) > 1 else self.real(p[0]) for p in pairs]
        total = terms[-1]
        for term in reversed(terms[:-1]):
            total = b.muladd(total, square, term)
        return total

    def with_sign(self, magnitude: Value) -> Value:
        """`magnitude`, which is not negative, with the sign of x."""
        unsigned = self.format.unsigned
        sign = self.b.constant(self.format.sign_bit, with_lanes(unsigned, self.lanes))
        kept = self.b.bit_and(self.b.bitcast(self.x, unsigned), sign)
        return self.b.bitcast(self.b.bit_or(self.b.bitcast(magnitude, unsigned), kept), self.format.real)

    # ---- exp ---------------------------------------------------------------------------------------------

    def reduced_exp(self, x: Value, moved: int = 0) -> tuple[Value, Value]:
        """(t, s) with exp(x) = (1 + t) * 2^n, t small, and n + bias + moved where a float has its exponent in s."""
        b, f = self.b, self.format
        shifter = self.real(f.shifter + moved)
        shifted = b.muladd(x, self.real(1 / math.log(2)), shifter)
        n = b.sub(shifted, shifter)
        rest = b.muladd(n, self.real(-f.ln2_high), x)
        rest = b.muladd(n, self.real(-f.ln2_low), rest)
        square = b.mul(rest, rest)
        tail = b.muladd(square, self.paired_polynomial(f.exp, rest, square), rest)
        return tail, b.shl(self.bits(shifted), self.integer(f.mantissa))

    def moderate_exp(self, x: Value) -> Value:
        """exp where neither it nor its exponent leaves the normal range."""
        t, s = self.reduced_exp(x)
        return self.b.mul(self.b.add(t, self.real(1.0)), self.of_bits(s))

    def exp(self) -> Value:
        """2^n in two factors, one of them a constant for each sign of x: 2^n itself may be no normal number where
        exp(x) is one, or is denormal."""
        b, f = self.b, self.format
        x = b.maximum(b.minimum(self.x, self.real(f.exp_high)), self.real(f.exp_low))
        t, s = self.reduced_exp(x)
        middle = f.middle << f.mantissa
        negative = b.compare("lt", self.bits(x), self.integer(0))
        moved = b.select(negative, self.integer(middle), self.integer(-middle))
        constant = self.of_bits(b.sub(self.integer(f.bias << f.mantissa), moved))
        return b.mul(b.muladd(t, constant, constant), self.of_bits(b.add(s, moved)))

    def exp_nonpositive(self) -> Value:
        """The same for min(x, 0): the constant is known, and the exponents come out moved by the other factor."""
        b, f = self.b, self.format
        x = b.maximum(b.minimum(self.x, self.real(0.0)), self.real(f.exp_low))
        t, s = self.reduced_exp(x, f.middle)
        constant = self.real(2.0**-f.middle)
        # The scores of a softmax differ by enough for denormal results.  Those cost a multiplication of Zen cores some
        # eight cycles more, a multiply-add none.
        return b.muladd(b.muladd(t, constant, constant), self.of_bits(s), self.real(0.0))

    # ---- log ---------------------------------------------------------------------------------------------

    def log(self) -> Value:
        """x = 2^e * (1 + f) with 1 + f around 1; log(x) = e ln 2 + f - f^2/2 + f^3 P(f)."""
        b, f = self.b, self.format
        denormal = b.compare("lt", self.x, self.real(2.0 ** (1 - f.bias)))
        grown = b.mul(self.x, self.real(2.0**f.mantissa))
        bits = self.bits(b.select(denormal, grown, self.x))
        exponent = b.shr(b.sub(bits, self.integer(f.root_half_bits)), self.integer(f.mantissa))
        near_one = self.of_bits(b.sub(bits, b.shl(exponent, self.integer(f.mantissa))))
        e = b.sub(b.cast(exponent, f.real), b.select(denormal, self.real(f.mantissa), self.real(0.0)))
        return self._edges_of_log(self._log_of(e, b.sub(near_one, self.real(1.0))))

    def _log_of(self, e: Value, x: Value) -> Value:
        b, f = self.b, self.format
        square = b.mul(x, x)
        tail = b.mul(b.mul(x, square), self.polynomial(f.log, x))
        tail = b.muladd(e, self.real(f.ln2_low), tail)
        tail = b.muladd(square, self.real(-0.5), tail)
        return b.muladd(e, self.real(f.ln2_high), b.add(x, tail))

    def _edges_of_log(self, found: Value) -> Value:
        b = self.b
        zero, infinity = self.real(0.0), self.real(math.inf)
        found = b.select(b.compare("lt", self.x, infinity), found, self.x)  # infinity and NaN are their own logs
        edge = b.select(b.compare("eq", self.x, zero), self.real(-math.inf), self.real(math.nan))
        return b.select(b.compare("gt", self.x, zero), found, edge)

    # ---- tanh and erf ------------------------------------------------------------------------------------

    def tanh(self) -> Value:
        """x + x^3 P(x^2) near 0, else 1 - 2 / (exp(2x) + 1); for |x|, and with the sign of x."""
        b, f = self.b, self.format
        x = b.abs(self.x)
        square = b.mul(x, x)
        small = b.muladd(b.mul(x, square), self.polynomial(f.tanh, square), x)
        cut = b.minimum(x, self.real(f.tanh_end))
        e = self.moderate_exp(b.add(cut, cut))
        large = b.sub(self.real(1.0), b.div(self.real(2.0), b.add(e, self.real(1.0))))
        return self.with_sign(b.select(b.compare("lt", x, self.real(0.7)), small, large))

    def erf(self) -> Value:
        """x + x P(x^2) near 0, else 1 - exp(Q(x)); for |x|, and with the sign of x."""
        b, f = self.b, self.format
        x = b.abs(self.x)
        small = b.muladd(x, self.polynomial(f.erf, b.mul(x, x)), x)
        cut = b.minimum(x, self.real(f.erf_end))
        large = b.sub(self.real(1.0), self.moderate_exp(self.polynomial(f.log_erfc, cut)))
        return self.with_sign(b.select(b.compare("lt", x, self.real(0.9)), small, large))


FUNCTIONS: dict[str, Callable[[Elementary], Value]] = {
    "kernel.exp": Elementary.exp,
    "kernel.exp_nonpositive": Elementary.exp_nonpositive,
    "kernel.log": Elementary.log,
    "kernel.tanh": Elementary.tanh,
    "kernel.erf": Elementary.erf,
}
