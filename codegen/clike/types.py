"""Names and literals in the C family.  In: element types, Python numbers, names in the IR.  Out: C text."""

from __future__ import annotations

import math
import re

import numpy as np

from headrace.ir.types import DType

_NAMES = {
    "f64": "double",
    "f32": "float",
    "f16": "uint16_t",
    "bf16": "uint16_t",
    "i64": "int64_t",
    "i32": "int32_t",
    "i16": "int16_t",
    "i8": "int8_t",
    "u64": "uint64_t",
    "u32": "uint32_t",
    "u16": "uint16_t",
    "u8": "uint8_t",
    "bool": "bool",
}


def c_type(dtype: DType) -> str:
    """What holds a value; halves and narrow ones are their bits."""
    return "uint8_t" if dtype.kind == "narrow" else _NAMES[dtype.name]


def unsigned(dtype: DType) -> str:
    """The unsigned type in which arithmetic of this integer type wraps without undefined behaviour."""
    return "uint64_t" if dtype.bits == 64 else "uint32_t"


def literal(value: float | int | bool, dtype: DType) -> str:
    """A constant expression of exactly that value."""
    if dtype.kind == "bool":
        return "true" if value else "false"
    if dtype.kind == "narrow" or dtype.is_half:
        bits = np.uint16 if dtype.is_half else np.uint8
        return str(int(np.asarray(value).astype(dtype.numpy).view(bits)))
    if dtype.is_integer:
        return _integer(int(value), dtype)
    rounded = float(dtype.numpy.type(value))
    suffix = "f" if dtype.bits == 32 else ""
    if math.isnan(rounded):
        return "NAN"
    if math.isinf(rounded):
        return "-INFINITY" if rounded < 0 else "INFINITY"
    return f"{rounded.hex()}{suffix}"


def _integer(number: int, dtype: DType) -> str:
    if dtype.kind == "int" and number == -(1 << (dtype.bits - 1)):
        return f"INT{dtype.bits}_MIN"  # the digits alone would be the negative of a number out of range
    if dtype.bits == 64:
        return f"{'U' if dtype.kind == 'uint' else ''}INT64_C({number})"
    return str(number)


def identifier(wish: str, reserved: re.Pattern[str]) -> str:
    """A name for something inside a kernel; it hides nothing that the text uses."""
    name = re.sub(r"\W", "_", wish, flags=re.ASCII)
    if not name[:1].isalpha():
        name = f"v{name}"  # a digit cannot begin a name, and what begins with _ is the compiler's
    macro = name.startswith("hr_") or name.endswith("_t") or re.fullmatch(r"[A-Z0-9_]{2,}", name)
    return f"{name}_" if macro or reserved.fullmatch(name) else name  # capitals alone are the names of macros


def kernel_name(function_name: str) -> str:
    """The C name of a kernel: `kernel_relu`.  The prefix keeps @sqrt apart from the library's."""
    return "kernel_" + re.sub(r"\W", lambda found: f"_u{ord(found[0]):x}_", function_name, flags=re.ASCII)
