"""Scalar arithmetic in the C family: an expression for one lane of each operation, and the helpers that it needs.

In: an operation of the kernel dialect and the C texts of its operands' lanes.  Out: a C expression.  Floats of 16 bits
compute as f32 and are rounded after each operation.
"""

from __future__ import annotations

from headrace.codegen.clike.halves import rounded, rounded_to_odd, widened
from headrace.codegen.clike.helpers import Helpers
from headrace.codegen.clike.language import Language
from headrace.codegen.clike.types import c_type, literal, unsigned
from headrace.ir.core import Operation
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import convert, scalar
from headrace.ir.types import F32, DType, element_dtype

_OPERATORS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LIBRARY: dict[type[Operation], str] = {
    scalar.Sqrt: "sqrt",
    scalar.Floor: "floor",
    scalar.Ceil: "ceil",
    scalar.Round: "rint",
    scalar.Fma: "fma",
}
_WRAPPING: dict[type[Operation], str] = {
    scalar.Add: "+",
    scalar.Sub: "-",
    scalar.Mul: "*",
    scalar.And: "&",
    scalar.Or: "|",
    scalar.Xor: "^",
}


def lane_expression(operation: Operation, operands: list[str], helpers: Helpers) -> str:
    """One lane of the result.  Raises CodegenError for an operation that has no C form."""
    dtype = element_dtype(operation.operands[0].type)
    if not (dtype.is_half and isinstance(operation, scalar.Pointwise | scalar.Compare)):
        return expression_in(dtype, operation, operands, helpers)
    if isinstance(operation, scalar.Fma):
        raise CodegenError(f"kernel.fma on {dtype} at {operation.location}: expected f32 or f64")
    found = expression_in(F32, operation, [widened(o, dtype, helpers) for o in operands], helpers)
    return found if isinstance(operation, scalar.Compare) else rounded(found, dtype, helpers)


def expression_in(dtype: DType, operation: Operation, operands: list[str], helpers: Helpers) -> str:
    """One lane of the result, computed with operands of that type.  Raises CodegenError."""
    kind = type(operation)
    match operation:
        case scalar.Compare():
            return f"{operands[0]} {_OPERATORS[operation.predicate]} {operands[1]}"
        case scalar.Select():
            return f"{operands[0]} ? {operands[1]} : {operands[2]}"
        case convert.Cast():
            return _cast(operands[0], dtype, operation.dtype, helpers)
        case convert.Bitcast():
            return _bitcast(operands[0], dtype, operation.dtype, helpers)
        case scalar.Min() | scalar.Max():
            return f"{_extreme(kind is scalar.Min, dtype, helpers)}({operands[0]}, {operands[1]})"
        case scalar.MulAdd():
            if dtype.is_float and helpers.language.fuses:
                return f"{muladd(helpers, str(dtype), c_type(dtype))}({', '.join(operands)})"
            return _wrapping("{} * {} + {}", operands, dtype)
        case scalar.Neg():
            return f"-{operands[0]}" if dtype.is_float else _wrapping("0 - {}", operands, dtype)
        case scalar.Abs():
            if dtype.is_float:
                return f"{_library('fabs', dtype, helpers.language)}({operands[0]})"
            return f"{operands[0]} < 0 ? {_wrapping('0 - {}', operands, dtype)} : {operands[0]}"
        case scalar.Not():
            return f"!{operands[0]}" if dtype.kind == "bool" else f"({c_type(dtype)})~{operands[0]}"
        case scalar.Div() | scalar.Rem():
            if dtype.is_float:
                return f"{operands[0]} / {operands[1]}"
            return f"{_divide(kind is scalar.Div, dtype, helpers)}({operands[0]}, {operands[1]})"
        case scalar.Shl():
            return f"({c_type(dtype)})(({unsigned(dtype)}){operands[0]} << {operands[1]})"
        case scalar.Shr():
            return f"({c_type(dtype)})({operands[0]} >> {operands[1]})"
    if kind in _LIBRARY:
        return f"{_library(_LIBRARY[kind], dtype, helpers.language)}({', '.join(operands)})"
    if kind in _WRAPPING:
        return _wrapping(f"{{}} {_WRAPPING[kind]} {{}}", operands, dtype)
    raise CodegenError(
        f"{operation.name} at {operation.location} has no {helpers.language.name} form;"
        " kernel.expand-math writes functions out"
    )


def muladd(helpers: Helpers, suffix: str, kind: str) -> str:
    """The function that multiplies and adds with one rounding where the device is quick at that."""
    name = f"hr_muladd_{suffix}"
    return helpers.use(
        name,
        lambda: (
            f"static inline {kind} {name}({kind} a, {kind} b, {kind} c) {{\n"
            "#pragma OPENCL FP_CONTRACT ON\n    return a * b + c;\n}\n"
        ),
    )


def _library(name: str, dtype: DType, language: Language) -> str:
    return f"{name}f" if dtype.bits == 32 and not language.overloaded else name


def _wrapping(form: str, operands: list[str], dtype: DType) -> str:
    """Integer arithmetic in an unsigned type, so that overflow wraps; floats and booleans as they are."""
    if dtype.is_float:
        return form.format(*operands)
    if dtype.kind == "bool":
        return f"({form.format(*operands)}) != 0"
    return f"({c_type(dtype)})({form.format(*(f'({unsigned(dtype)}){o}' for o in operands))})"


def _extreme(least: bool, dtype: DType, helpers: Helpers) -> str:
    name = f"hr_{'min' if least else 'max'}_{dtype}"
    kind, sign = c_type(dtype), "<" if least else ">"
    nan = "a != a ? a : b != b ? b : " if dtype.is_float else ""
    return helpers.use(
        name, lambda: f"static inline {kind} {name}({kind} a, {kind} b) {{\n    return {nan}a {sign} b ? a : b;\n}}\n"
    )


def _divide(quotient: bool, dtype: DType, helpers: Helpers) -> str:
    name = f"hr_{'div' if quotient else 'rem'}_{dtype}"
    kind, sign = c_type(dtype), "/" if quotient else "%"
    wide = unsigned(dtype)
    # MIN / -1 overflows in C; here it wraps to MIN, and leaves 0.
    minus = f"b == -1 ? ({kind})(0 - ({wide})a) : " if quotient else "b == -1 ? 0 : "
    special = minus if dtype.kind == "int" else ""
    return helpers.use(
        name,
        lambda: (
            f"static inline {kind} {name}({kind} a, {kind} b) {{\n"
            f"    return b == 0 ? 0 : {special}({kind})(a {sign} b);\n}}\n"
        ),
    )


def _cast(operand: str, source: DType, target: DType, helpers: Helpers) -> str:
    if "narrow" in (source.kind, target.kind):
        raise CodegenError(f"cast of {source} to {target}: kernel.expand-math writes it out")
    if source == target:
        return operand
    if source.is_half:
        return _cast(widened(operand, source, helpers), F32, target, helpers)
    if target.is_half:
        # f64 in two steps: bf16 is reached by way of f32, as the dialect has it; f16 as if at once.
        odd = source.bits == 64 and source.is_float and target.name == "f16"
        wide = rounded_to_odd(operand, helpers) if odd else _cast(operand, source, F32, helpers)
        return rounded(wide, target, helpers)
    if target.kind == "bool":
        return f"{operand} != 0"
    if not (source.is_float and target.is_integer):
        return f"({c_type(target)}){operand}"
    name = f"hr_cast_{source}_{target}"
    low = 0 if target.kind == "uint" else -(1 << (target.bits - 1))
    beyond = float(1 << (target.bits - (target.kind == "int")))  # the first number above the range, a power of two
    kind = c_type(target)
    most = f"{'U' if target.kind == 'uint' else ''}INT{target.bits}_MAX"
    return (
        helpers.use(
            name,
            lambda: (
                f"static inline {kind} {name}({c_type(source)} x) {{\n"
                f"    return x != x ? 0 : x <= {literal(low, source)} ? {literal(low, target)} : "
                f"x >= {literal(beyond, source)} ? {most} : ({kind})x;\n}}\n"
            ),
        )
        + f"({operand})"
    )


def _bitcast(operand: str, source: DType, target: DType, helpers: Helpers) -> str:
    name = f"hr_bits_{source}_{target}"
    return (
        helpers.use(
            name,
            lambda: (
                f"static inline {c_type(target)} {name}({c_type(source)} x) {{\n"
                f"    union {{\n        {c_type(source)} from;\n        {c_type(target)} to;\n    }} bits = {{x}};\n"
                "    return bits.to;\n}\n"
            ),
        )
        + f"({operand})"
    )
