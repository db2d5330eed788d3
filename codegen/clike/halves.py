"""f16 and bf16 in the C family: held as their bits in a uint16_t, widened to float and rounded back.

In: the C text of a value.  Out: a call of a helper.  Rounds to even; NaN stays NaN.  OpenCL C widens f16 without any
extension (only through pointers, since it has no such type); the rest takes integers.  To round needs no branch, since
it is inlined for each element of a tile: `vstore_half` has many where the device has no instruction for it, and the 128
of a product were most of what PoCL's compiler had to do.
"""

from __future__ import annotations

from headrace.codegen.clike.helpers import Helpers
from headrace.ir.types import DType


def widened(text: str, dtype: DType, helpers: Helpers) -> str:
    """The number as float, exactly."""
    bodies = {"bf16": _BF16_TO_F32, "f16": _VLOAD if helpers.language.has_half else _F16_TO_F32}
    return _call("float", f"hr_f32_of_{dtype}", "uint16_t", bodies[dtype.name], text, helpers)


def rounded(text: str, dtype: DType, helpers: Helpers) -> str:
    """The bits of the nearest number to a float, ties to even."""
    bodies = {"bf16": _F32_TO_BF16, "f16": _F32_TO_F16}
    return _call("uint16_t", f"hr_{dtype}_of_f32", "float", bodies[dtype.name], text, helpers)


def rounded_to_odd(text: str, helpers: Helpers) -> str:
    """A double as float, to odd where inexact: rounding that to f16 then gives what one rounding would."""
    return _call("float", "hr_f32_odd", "double", _ODD, text, helpers)


def _call(kind: str, name: str, of: str, body: str, text: str, helpers: Helpers) -> str:
    """A call of a helper from a number `x` of type `of` to one of type `kind`."""
    helpers.use("hr_word", lambda: _WORD)
    helpers.use(name, lambda: f"static inline {kind} {name}({of} x) {{\n{body}}}\n")
    return f"{name}({text})"


_WORD = """\
typedef union {
    float number;
    uint32_t bits;
} hr_word;
"""

_VLOAD = """\
    return vload_half(0, (const half *)&x);
"""

_BF16_TO_F32 = """\
    hr_word word;
    word.bits = (uint32_t)x << 16;
    return word.number;
"""

# A NaN must not round to infinity: its quiet bit is set instead.
_F32_TO_BF16 = """\
    hr_word word = {x};
    uint32_t top = word.bits >> 16;
    return (uint16_t)(x != x ? top | 0x40 : (word.bits + 0x7FFF + (top & 1)) >> 16);
"""

# Exponent and mantissa move into place; a product with 2^112 moves the bias, and makes denormals normal.
_F16_TO_F32 = """\
    uint32_t sign = (uint32_t)(x & 0x8000) << 16;
    hr_word word;
    word.bits = (uint32_t)(x & 0x7FFF) << 13;
    if (word.bits > 0x0F7FFFFF)
        word.bits |= 0x7F800000;
    else
        word.number *= 0x1p112f;
    word.bits |= sign;
    return word.number;
"""

# Adding 0.5 rounds what becomes a denormal at the right bit; other mantissas round by an integer addition.
_F32_TO_F16 = """\
    hr_word word = {x}, small;
    uint32_t sign = word.bits >> 16 & 0x8000, size = word.bits & 0x7FFFFFFF;
    small.bits = size;
    small.number += 0.5f;
    uint32_t normal = (size - 0x38000000 + 0xFFF + (size >> 13 & 1)) >> 13;
    uint32_t finite = size > 0x387FFFFF ? normal : small.bits - 0x3F000000;
    uint32_t special = size > 0x7F800000 ? 0x7E00 : 0x7C00;
    return (uint16_t)(sign | (size > 0x477FFFFF ? special : finite));
"""

_ODD = """\
    hr_word word = {(float)x};
    double back = word.number;
    if (back == x || x != x)
        return word.number;
    if (fabs(back) > fabs(x))
        word.bits--;
    word.bits |= 1;
    return word.number;
"""
