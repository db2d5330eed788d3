"""f16 and bf16, which travel as their bits, to f32 and back.

In and out: names of scalars or vectors.  bf16 and, where the target does not convert f16 itself, f16 are converted
by integer arithmetic; LLVM would call a library there.  Rounds to even; NaN stays NaN with its sign.
"""

from __future__ import annotations

from headrace.codegen.llvm.code import Code
from headrace.codegen.llvm.types import literal, suffix, vector_name
from headrace.ir.types import F32, U32, DType, with_lanes


class _Bits:
    """Integer arithmetic on the lanes of one value, 32 bits each."""

    def __init__(self, code: Code, lanes: int) -> None:
        self.code = code
        self.lanes = lanes
        self.wide, self.real = vector_name("i32", lanes), vector_name("float", lanes)
        self.short, self.flag = vector_name("i16", lanes), vector_name("i1", lanes)

    def number(self, value: int) -> str:
        return literal(value, with_lanes(U32, self.lanes))

    def do(self, kind: str, x: str, y: str | int) -> str:
        right = self.number(y) if isinstance(y, int) else y
        return self.code.add(f"{kind} {self.wide} {x}, {right}")

    def above(self, x: str, limit: int) -> str:
        """x > limit, unsigned."""
        return self.code.add(f"icmp ugt {self.wide} {x}, {self.number(limit)}")

    def choose(self, condition: str, x: str, y: str) -> str:
        return self.code.add(f"select {self.flag} {condition}, {self.wide} {x}, {self.wide} {y}")

    def float_of(self, x: str) -> str:
        return self.code.add(f"bitcast {self.wide} {x} to {self.real}")

    def of_float(self, x: str) -> str:
        return self.code.add(f"bitcast {self.real} {x} to {self.wide}")

    def widened(self, x: str) -> str:
        return self.code.add(f"zext {self.short} {x} to {self.wide}")

    def narrowed(self, x: str) -> str:
        return self.code.add(f"trunc {self.wide} {x} to {self.short}")


def to_f32(code: Code, dtype: DType, lanes: int, x: str) -> str:
    """The number as f32, exactly."""
    bits = _Bits(code, lanes)
    if dtype.name == "bf16":
        return bits.float_of(bits.do("shl", bits.widened(x), 16))
    if code.target.converts_f16:
        half = code.add(f"bitcast {bits.short} {x} to {vector_name('half', lanes)}")
        return code.add(f"fpext {vector_name('half', lanes)} {half} to {bits.real}")
    return _f16_to_f32(bits, x)


def from_f32(code: Code, dtype: DType, lanes: int, x: str) -> str:
    """The nearest number of the 16-bit type, ties to even."""
    bits = _Bits(code, lanes)
    if dtype.name == "bf16":
        return _f32_to_bf16(bits, x)
    if code.target.converts_f16:
        half = code.add(f"fptrunc {bits.real} {x} to {vector_name('half', lanes)}")
        return code.add(f"bitcast {vector_name('half', lanes)} {half} to {bits.short}")
    return _f32_to_f16(bits, x)


def _f16_to_f32(bits: _Bits, x: str) -> str:
    """Exponent and mantissa move into place; a product with 2^112 moves the bias, and makes denormals normal."""
    wide = bits.widened(x)
    sign = bits.do("shl", bits.do("and", wide, 0x8000), 16)
    magnitude = bits.do("shl", bits.do("and", wide, 0x7FFF), 13)
    scale = literal(2.0**112, with_lanes(F32, bits.lanes))
    scaled = bits.of_float(bits.code.add(f"fmul {bits.real} {bits.float_of(magnitude)}, {scale}"))
    special = bits.do("or", magnitude, 0x7F800000)
    found = bits.choose(bits.above(magnitude, 0x0F7FFFFF), special, scaled)
    return bits.float_of(bits.do("or", found, sign))


def _f32_to_f16(bits: _Bits, x: str) -> str:
    """Adding 0.5 rounds what becomes a denormal at the right bit; other mantissas round by an integer addition."""
    wide = bits.of_float(x)
    magnitude = bits.do("and", wide, 0x7FFFFFFF)
    sign = bits.do("lshr", bits.do("and", wide, 0x80000000), 16)
    half = literal(0.5, with_lanes(F32, bits.lanes))
    moved = bits.code.add(f"fadd {bits.real} {bits.float_of(magnitude)}, {half}")
    denormal = bits.do("sub", bits.of_float(moved), 126 << 23)
    odd = bits.do("and", bits.do("lshr", magnitude, 13), 1)
    rebiased = bits.do("add", magnitude, ((15 - 127) << 23) + 0xFFF & 0xFFFFFFFF)
    normal = bits.do("lshr", bits.do("add", rebiased, odd), 13)
    special = bits.choose(bits.above(magnitude, 0x7F800000), bits.number(0x7E00), bits.number(0x7C00))
    finite = bits.choose(bits.above(magnitude, 0x387FFFFF), normal, denormal)
    found = bits.choose(bits.above(magnitude, 0x477FFFFF), special, finite)
    return bits.narrowed(bits.do("or", found, sign))


def _f32_to_bf16(bits: _Bits, x: str) -> str:
    wide = bits.of_float(x)
    top = bits.do("lshr", wide, 16)
    rounded = bits.do("lshr", bits.do("add", bits.do("add", wide, 0x7FFF), bits.do("and", top, 1)), 16)
    # A NaN must not round to infinity: its quiet bit is set instead.
    unordered = bits.code.add(f"fcmp uno {bits.real} {x}, {x}")
    return bits.narrowed(bits.choose(unordered, bits.do("or", top, 0x40), rounded))


def f64_to_f32_odd(code: Code, lanes: int, x: str) -> str:
    """f64 to f32, rounded to odd where inexact: rounding that to f16 then gives what one rounding would."""
    bits = _Bits(code, lanes)
    double = vector_name("double", lanes)
    near = code.add(f"fptrunc {double} {x} to {bits.real}")
    back = code.add(f"fpext {bits.real} {near} to {double}")
    magnitude, returned = (code.call(f"llvm.fabs.{suffix(double)}", double, [(double, v)]) for v in (x, back))
    over = code.add(f"fcmp ogt {double} {returned}, {magnitude}")
    inexact = code.add(f"fcmp one {double} {back}, {x}")
    cut = bits.do("sub", bits.of_float(near), code.add(f"zext {bits.flag} {over} to {bits.wide}"))
    return bits.float_of(bits.do("or", cut, code.add(f"zext {bits.flag} {inexact} to {bits.wide}")))
