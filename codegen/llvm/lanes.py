"""Formulas as data: one number, or one for each lane of a vector.

In: formulas without unrolled axes.  Out: names of values, computed once where all their symbols are known.
"""

from __future__ import annotations

from headrace.codegen.llvm.code import Code
from headrace.codegen.llvm.types import list_literal, scalar_name, splat_literal, vector_name
from headrace.ir.dims import Dim
from headrace.ir.types import DType


def index(code: Code, value: Dim, dtype: DType, lanes: int, step: int) -> str:
    """`value`, or `value + l*step` in lane l."""
    key = ("index", value, dtype.name, lanes, step)
    return code.once(key, code.level_of(value), _index, code, value, dtype, lanes, step)


def _index(code: Code, value: Dim, dtype: DType, lanes: int, step: int) -> str:
    element = scalar_name(dtype)
    first = code.value(value)
    if value.is_constant:
        first = str(_wrapped(value.value, dtype))
    elif dtype.bits < 64:
        first = code.add(f"trunc i64 {first} to {element}")
    if lanes == 1:
        return first
    steps = list_literal([_wrapped(lane * step, dtype) for lane in range(lanes)], element)
    kind = vector_name(element, lanes)
    start = splat_literal(f"{first}", element) if value.is_constant else code.splat(first, element, lanes)
    return code.add(f"add {kind} {start}, {steps}")


def _wrapped(value: int, dtype: DType) -> int:
    return value % (1 << dtype.bits)


def mask(code: Code, lower: Dim, upper: Dim, lanes: int) -> str:
    """Lane l holds lower <= l < upper."""
    level = max(code.level_of(lower), code.level_of(upper))
    return code.once(("mask", lower, upper, lanes), level, _mask, code, lower, upper, lanes)


def _mask(code: Code, lower: Dim, upper: Dim, lanes: int) -> str:
    below = _compared(code, upper, lanes, "slt")
    from_on = None if lower == 0 else _compared(code, lower, lanes, "sge")
    if from_on is None:
        return below
    return code.add(f"and {vector_name('i1', lanes)} {below}, {from_on}")


def _compared(code: Code, bound: Dim, lanes: int, predicate: str) -> str:
    """The lane numbers against a bound, in elements of which the lanes fill a vector: one comparison does."""
    bits = max(8, min(64, code.target.vector_bytes * 8 // lanes))
    element = f"i{bits}"
    numbers = list_literal(list(range(lanes)), element)
    if bound.is_constant:
        limit = splat_literal(str(max(0, min(lanes, bound.value))), element)
    else:
        low = code.call("llvm.smax.i64", "i64", [("i64", code.value(bound)), ("i64", "0")])
        cut = code.call("llvm.smin.i64", "i64", [("i64", low), ("i64", str(lanes))])
        narrow = cut if bits == 64 else code.add(f"trunc i64 {cut} to {element}")
        limit = code.splat(narrow, element, lanes)
    return code.add(f"icmp {predicate} {vector_name(element, lanes)} {numbers}, {limit}")
