"""How types and numbers are spelled in LLVM IR.

    f32 -> float    vector<16xf32> -> <16 x float>    f16, bf16 -> i16 (their bits)    bool -> i1, i8 in memory
    f8e4m3fn, i4 and other narrow types -> i8

The 16-bit floats travel as integers: few CPUs compute on them, and where LLVM has no instruction for a
conversion it would call a library.  `half` says how they become f32 and back.
"""

from __future__ import annotations

import struct

import numpy as np

from headrace.ir.types import DType, Element, VectorType, lanes_of

_SCALARS = {"f64": "double", "f32": "float", "f16": "i16", "bf16": "i16", "bool": "i1"}


def scalar_name(dtype: DType) -> str:
    """Of one element in a register."""
    return _SCALARS.get(dtype.name, f"i{8 * dtype.bytes}")


def memory_name(dtype: DType) -> str:
    """Of one element in memory."""
    return "i8" if dtype.kind == "bool" else scalar_name(dtype)


def vector_name(element: str, lanes: int) -> str:
    """`element` itself for one lane."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def type_name(kind: Element) -> str:
    """Of a value in a register."""
    return vector_name(scalar_name(kind.dtype), lanes_of(kind))


def suffix(name: str) -> str:
    """The part of an intrinsic's name that a type gives: `<16 x float>` is v16f32."""
    if name.startswith("<"):
        lanes, _, element = name[1:-1].partition(" x ")
        return f"v{lanes}{suffix(element)}"
    return {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}.get(name, name)


def literal(value: float | int | bool, kind: Element) -> str:
    """A number of that type; the same in each lane of a vector."""
    one = _scalar_literal(value, kind.dtype)
    return splat_literal(one, scalar_name(kind.dtype)) if isinstance(kind, VectorType) else one


def splat_literal(one: str, element: str) -> str:
    """A vector constant with `one` in each lane."""
    return f"splat ({element} {one})"


def _scalar_literal(value: float | int | bool, dtype: DType) -> str:
    if dtype.kind == "bool":
        return "true" if value else "false"
    if dtype.name in ("f16", "bf16"):
        return str(int(np.asarray(value, dtype.numpy).view(np.uint16)))
    if dtype.kind == "narrow":
        return str(int(np.asarray(value).astype(dtype.numpy).view(np.uint8)))
    if dtype.is_float:
        # LLVM reads a float's hexadecimal digits as those of the double of the same value.
        with np.errstate(over="ignore"):
            exact = float(np.asarray(value, dtype.numpy))
        return f"0x{struct.pack('>d', exact).hex().upper()}"
    return str(int(value))


def list_literal(values: list[int], element: str) -> str:
    """A vector constant of integers."""
    return f"<{', '.join(f'{element} {v}' for v in values)}>"


def is_constant(operand: str) -> bool:
    """Whether an operand is a number rather than the name of a value."""
    return not operand.startswith("%")
