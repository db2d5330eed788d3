"""Casts from and to narrow types as arithmetic of the kernel dialect.

In: a builder and a scalar or vector.  Out: the numbers as another type, by integer operations on their bits.

A small float's exponent and mantissa, moved to where f32 has them, are its number divided by a power of two, whether
it is denormal or not: one exact product gives it back.  The other way f32 rounds a mantissa by adding half of what is
cut off, or one less where the kept part is even; a denormal by a sum with a number whose last place is the small
format's.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Value
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, I32, U8, DType, element_dtype, lanes_of, with_lanes

MAGNITUDE, INFINITY, NAN, LEAST_NORMAL = 0x7FFFFFFF, 0x7F800000, 0x7FC00000, 0x00800000  # bits of f32


@dataclass(frozen=True, slots=True)
class Format:
    """A float with a sign, then the exponent, then the mantissa."""

    sign: int  # its bit
    mantissa: int  # bits of it
    bias: int
    ceiling: int  # what stands for all that is too large
    infinity: int | None  # the bits under the sign; NaN is what is above
    nan: int  # what stands for NaN, under the sign
    has_minus_zero: bool = True  # else -0 is the only NaN


FORMATS = {
    "f8e4m3fn": Format(0x80, 3, 7, ceiling=0x7F, infinity=None, nan=0x7F),
    "f8e5m2": Format(0x80, 2, 15, ceiling=0x7C, infinity=0x7C, nan=0x7E),
    "f8e4m3fnuz": Format(0x80, 3, 8, ceiling=0x80, infinity=None, nan=0x80, has_minus_zero=False),
    "f8e5m2fnuz": Format(0x80, 2, 16, ceiling=0x80, infinity=None, nan=0x80, has_minus_zero=False),
    "f4e2m1fn": Format(0x08, 1, 1, ceiling=0x07, infinity=None, nan=0x08),  # no NaN: -0 stands for one
}


def cast(b: ScalarBuilder, x: Value, dtype: DType) -> Value:
    """`kernel.cast` of a narrow type, or to one."""
    source, bits = element_dtype(x.type), _Bits(b, lanes_of(x.type))
    if source.kind == "narrow":
        wide = _widened(bits, b.cast(b.bitcast(x, U8), I32), source)
        return cast(b, wide, dtype) if dtype.kind == "narrow" else b.cast(wide, dtype)
    if dtype.name == "f8e8m0fnu":
        code = _power_code(bits, b.cast(x, F32))
    elif dtype.is_narrow_float:
        code = _float_code(bits, b.cast(x, F32), FORMATS[dtype.name])
    else:
        code = bits.masked(b.cast(x, I32), (1 << dtype.bits) - 1)
    return b.bitcast(b.cast(code, U8), dtype)


@dataclass(frozen=True, slots=True)
class _Bits:
    """i32 arithmetic with constants, in as many lanes."""

    b: ScalarBuilder
    lanes: int

    def number(self, value: int) -> Value:
        return self.b.constant(value, with_lanes(I32, self.lanes))

    def real(self, value: float) -> Value:
        return self.b.constant(value, with_lanes(F32, self.lanes))

    def masked(self, x: Value, mask: int) -> Value:
        return self.b.bit_and(x, self.number(mask))

    def left(self, x: Value, places: int) -> Value:
        return self.b.shl(x, self.number(places))

    def right(self, x: Value, places: int) -> Value:
        return self.b.shr(x, self.number(places))

    def plus(self, x: Value, amount: int) -> Value:
        return self.b.add(x, self.number(amount))

    def where_above(self, x: Value, limit: int, chosen: Value, other: Value) -> Value:
        return self.b.select(self.b.compare("gt", x, self.number(limit)), chosen, other)

    def where_equal(self, x: Value, wanted: int, chosen: Value, other: Value) -> Value:
        return self.b.select(self.b.compare("eq", x, self.number(wanted)), chosen, other)


def _widened(bits: _Bits, code: Value, source: DType) -> Value:
    """The numbers behind codes, as f32, or as i32 those of narrow integers."""
    b = bits.b
    if source.name == "f8e8m0fnu":
        power = bits.where_equal(code, 0, bits.number(LEAST_NORMAL >> 1), bits.left(code, 23))
        return b.bitcast(bits.where_equal(code, 0xFF, bits.number(NAN), power), F32)
    if source.is_narrow_float:
        return _widened_float(bits, code, FORMATS[source.name])
    if source.name.startswith("u"):
        return bits.masked(code, (1 << source.bits) - 1)
    return bits.right(bits.left(code, 32 - source.bits), 32 - source.bits)


def _widened_float(bits: _Bits, code: Value, form: Format) -> Value:
    b, shift = bits.b, 23 - form.mantissa
    under = bits.masked(code, form.sign - 1)
    moved = bits.left(under, shift)
    found = b.bitcast(b.mul(b.bitcast(moved, F32), bits.real(2.0 ** (127 - form.bias))), I32)
    if form.infinity is not None:  # what the exponent of f32 says too, with the same mantissa
        found = bits.where_above(under, form.infinity - 1, b.bit_or(moved, bits.number(INFINITY)), found)
    elif form.ceiling == form.nan:
        whole = under if form.has_minus_zero else code
        found = bits.where_equal(whole, form.nan, bits.number(NAN), found)
    sign = bits.left(bits.masked(code, form.sign), 32 - form.sign.bit_length())
    return b.bitcast(b.bit_or(found, sign), F32)


def _float_code(bits: _Bits, x: Value, form: Format) -> Value:
    b, shift, rebias = bits.b, 23 - form.mantissa, (127 - form.bias) << 23
    whole = b.bitcast(x, I32)
    magnitude = bits.masked(whole, MAGNITUDE)
    last = bits.masked(bits.right(magnitude, shift), 1)
    normal = bits.right(b.add(bits.plus(magnitude, (1 << (shift - 1)) - 1 - rebias), last), shift)
    unit = 2.0 ** (1 - form.bias - form.mantissa)  # the least number above 0
    summed = b.bitcast(b.add(b.abs(x), bits.real(unit * 2.0**23)), I32)
    denormal = bits.plus(summed, -((150 - form.bias - form.mantissa + 1) << 23))
    code = bits.where_above(magnitude, rebias + LEAST_NORMAL - 1, normal, denormal)
    code = b.minimum(code, bits.number(form.ceiling))
    code = bits.where_above(magnitude, INFINITY, bits.number(form.nan), code)
    sign = bits.masked(bits.right(whole, 32 - form.sign.bit_length()), form.sign)
    signed = b.bit_or(code, sign)
    return signed if form.has_minus_zero else bits.where_equal(code, 0, bits.number(0), signed)


def _power_code(bits: _Bits, x: Value) -> Value:
    """The nearest power of two, of two as near the larger, like ml_dtypes the second one for all between the first two;
    NaN for what is not above 0 or beyond all of them."""
    b = bits.b
    whole = b.bitcast(x, I32)
    half = LEAST_NORMAL >> 1
    normal = bits.right(bits.plus(whole, half), 23)
    denormal = bits.where_above(whole, half, bits.number(1), bits.number(0))
    code = bits.where_above(whole, LEAST_NORMAL - 1, normal, denormal)
    code = bits.where_above(whole, INFINITY - 1, bits.number(0xFF), code)
    return bits.where_above(whole, 0, code, bits.number(0xFF))
