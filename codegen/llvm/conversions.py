"""`kernel.cast`: numbers from one element type to another, by instructions alone.

To float: rounded to even.  Float to integer: cut towards zero, saturating, NaN gives 0.  Integer to integer:
wraps.  To bool: is not 0.
"""

from __future__ import annotations

from headrace.codegen.llvm.code import Code
from headrace.codegen.llvm.half import f64_to_f32_odd, from_f32, to_f32
from headrace.codegen.llvm.types import literal, suffix, type_name
from headrace.ir.errors import CodegenError
from headrace.ir.types import F32, DType, Element, lanes_of, with_lanes


def cast(code: Code, kind: Element, dtype: DType, x: str) -> str:
    """`x`, which is of type `kind`, with elements of `dtype`."""
    if kind.dtype == dtype:
        return x
    lanes = lanes_of(kind)
    if "narrow" in (kind.dtype.kind, dtype.kind):
        raise CodegenError(f"cast of {kind.dtype} to {dtype}: kernel.expand-math writes it out")
    if kind.dtype.is_half:
        return cast(code, with_lanes(F32, lanes), dtype, to_f32(code, kind.dtype, lanes, x))
    if dtype.is_half:
        if kind.dtype.name == "f64" and dtype.name == "f16":
            return from_f32(code, dtype, lanes, f64_to_f32_odd(code, lanes, x))
        return from_f32(code, dtype, lanes, cast(code, kind, F32, x))
    if dtype.kind == "bool":
        zero = literal(0, kind)
        return code.add(f"{'fcmp une' if kind.dtype.is_float else 'icmp ne'} {type_name(kind)} {x}, {zero}")
    if kind.dtype.is_float and dtype.is_integer:
        return _saturated(code, kind, dtype, x)
    target = type_name(with_lanes(dtype, lanes))
    if target == type_name(kind):
        return x
    return code.add(f"{_instruction(kind.dtype, dtype)} {type_name(kind)} {x} to {target}")


def _saturated(code: Code, kind: Element, dtype: DType, x: str) -> str:
    source, target = type_name(kind), type_name(with_lanes(dtype, lanes_of(kind)))
    name = "fptosi" if dtype.kind == "int" else "fptoui"
    return code.call(f"llvm.{name}.sat.{suffix(target)}.{suffix(source)}", target, [(source, x)])


def _instruction(old: DType, new: DType) -> str:
    if old.is_float:
        return "fpext" if new.bits > old.bits else "fptrunc"
    signed = old.kind == "int"
    if new.is_float:
        return "sitofp" if signed else "uitofp"
    if old.kind == "bool":
        return "zext"
    return "trunc" if new.bits < old.bits else "sext" if signed else "zext"
