"""What computes: one rule an operation, from names of operands to the name of the result.

The rules print exactly what the operations' declarations say, without calls: integer division is guarded, floats
become integers by saturation, minimum and maximum keep NaN.  16-bit floats compute in f32 and are rounded after
each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.codegen.llvm.code import Code
from headrace.codegen.llvm.conversions import cast
from headrace.codegen.llvm.half import from_f32, to_f32
from headrace.codegen.llvm.types import is_constant, literal, scalar_name, suffix, type_name, vector_name
from headrace.ir.core import Operation
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import convert, scalar
from headrace.ir.types import F32, DType, Element, ScalarType, VectorType, lanes_of, with_lanes

Rule = Callable[[Code, Element, Sequence[str]], str]


def compute(code: Code, operation: Operation, operands: Sequence[str]) -> str | None:
    """The result of an operation that computes; None for any other operation."""
    match operation:
        case convert.Constant():
            return literal(operation.value, _element(operation))
        case convert.Broadcast():
            return _broadcast(code, _element(operation), operands[0])
        case convert.Cast():
            return cast(code, _operand_type(operation), operation.dtype, operands[0])
        case convert.Bitcast():
            return _bitcast(code, _operand_type(operation), _element(operation), operands[0])
        case convert.ReduceLanes():
            return _fold(code, _operand_type(operation), operation.kind, operands[0])
        case convert.TakeLanes():
            kind = _operand_type(operation)
            return _part(code, kind.dtype, lanes_of(kind), operands[0], operation.start, operation.lanes)
        case scalar.Select():
            return _select(code, operation, operands)
        case scalar.Compare():
            return _compare(code, _operand_type(operation), operation.predicate, operands)
        case scalar.Transcendental():
            raise CodegenError(
                f"kernel @{code.name}: {operation.name} at {operation.location} has no instruction;"
                " run kernel.expand-math"
            )
        case scalar.Pointwise():
            return _pointwise(code, operation, operands)
    return None


def _element(operation: Operation) -> Element:
    kind = operation.result.type
    assert isinstance(kind, ScalarType | VectorType)
    return kind


def _operand_type(operation: Operation) -> Element:
    kind = operation.operands[0].type
    assert isinstance(kind, ScalarType | VectorType)
    return kind


# ---- element by element ----------------------------------------------------------------------------------------


def _pointwise(code: Code, operation: scalar.Pointwise, operands: Sequence[str]) -> str:
    kind = _element(operation)
    rule = RULES.get(type(operation))
    if rule is None:
        raise CodegenError(f"kernel @{code.name}: {operation.name} at {operation.location} has no rule for LLVM")
    if not kind.dtype.is_half:
        return rule(code, kind, operands)
    lanes = lanes_of(kind)
    wide = [to_f32(code, kind.dtype, lanes, o) for o in operands]
    if isinstance(operation, scalar.Fma):
        raise CodegenError(f"kernel @{code.name}: kernel.fma on {kind} at {operation.location}: expected f32 or f64")
    return from_f32(code, kind.dtype, lanes, rule(code, with_lanes(F32, lanes), wide))


def _plain(float_name: str, signed: str, unsigned: str = "") -> Rule:
    """One instruction, whose name depends on the kind of element."""

    def rule(code: Code, kind: Element, operands: Sequence[str]) -> str:
        name = float_name if kind.dtype.is_float else signed if kind.dtype.kind == "int" else unsigned or signed
        return code.add(f"{name} {type_name(kind)} {', '.join(operands)}")

    return rule


def _function(float_name: str) -> Rule:
    """An intrinsic on floats."""

    def rule(code: Code, kind: Element, operands: Sequence[str]) -> str:
        return _call(code, float_name, kind, operands)

    return rule


def _call(code: Code, name: str, kind: Element, operands: Sequence[str], flags: str = "") -> str:
    spelled = type_name(kind)
    return code.call(f"llvm.{name}.{suffix(spelled)}", spelled, [(spelled, o) for o in operands], flags)


def _negative(code: Code, kind: Element, operands: Sequence[str]) -> str:
    if kind.dtype.is_float:
        return code.add(f"fneg {type_name(kind)} {operands[0]}")
    return code.add(f"sub {type_name(kind)} {literal(0, kind)}, {operands[0]}")


def _magnitude(code: Code, kind: Element, operands: Sequence[str]) -> str:
    if kind.dtype.is_float:
        return _call(code, "fabs", kind, operands)
    spelled = type_name(kind)
    return code.call(f"llvm.abs.{suffix(spelled)}", spelled, [(spelled, operands[0]), ("i1", "false")])


def _invert(code: Code, kind: Element, operands: Sequence[str]) -> str:
    ones = literal(True, kind) if kind.dtype.kind == "bool" else literal(-1, kind)
    return code.add(f"xor {type_name(kind)} {operands[0]}, {ones}")


def _extreme(name: str) -> Rule:
    """`nsz`: which zero wins is not promised.  With it x86 needs one instruction against a constant, else three."""

    def rule(code: Code, kind: Element, operands: Sequence[str]) -> str:
        if kind.dtype.is_float:
            return _call(code, f"{name}imum", kind, operands, "nsz ")
        return _call(code, ("s" if kind.dtype.kind == "int" else "u") + name[:3], kind, operands)

    return rule


def _division(float_name: str, name: str) -> Rule:
    """For integers a divisor of 0 or -1 is replaced by 1 first: both would trap."""

    def rule(code: Code, kind: Element, operands: Sequence[str]) -> str:
        spelled = type_name(kind)
        x, y = operands
        if kind.dtype.is_float:
            return code.add(f"{float_name} {spelled} {x}, {y}")
        flags, zero, one = _flags(kind), literal(0, kind), literal(1, kind)
        empty = code.add(f"icmp eq {spelled} {y}, {zero}")
        safe = code.add(f"select {flags} {empty}, {spelled} {one}, {spelled} {y}")
        if kind.dtype.kind == "uint":
            found = code.add(f"u{name} {spelled} {x}, {safe}")
            return code.add(f"select {flags} {empty}, {spelled} {zero}, {spelled} {found}")
        minus = code.add(f"icmp eq {spelled} {y}, {literal(-1, kind)}")
        safe = code.add(f"select {flags} {minus}, {spelled} {one}, {spelled} {safe}")
        found = code.add(f"s{name} {spelled} {x}, {safe}")
        if name == "rem":
            return code.add(f"select {flags} {empty}, {spelled} {zero}, {spelled} {found}")
        opposite = code.add(f"sub {spelled} {zero}, {x}")
        found = code.add(f"select {flags} {minus}, {spelled} {opposite}, {spelled} {found}")
        return code.add(f"select {flags} {empty}, {spelled} {zero}, {spelled} {found}")

    return rule


def _fused(code: Code, kind: Element, operands: Sequence[str]) -> str:
    if not code.target.has_fma:
        raise CodegenError(
            f"kernel @{code.name}: kernel.fma rounds once, but {code.target.preset} has no such instruction;"
            " use kernel.muladd"
        )
    return _call(code, "fma", kind, operands)


def _multiply_add(code: Code, kind: Element, operands: Sequence[str]) -> str:
    if kind.dtype.is_float and code.target.has_fma:
        return _call(code, "fma", kind, operands)
    spelled, dot = type_name(kind), "f" if kind.dtype.is_float else ""
    product = code.add(f"{dot}mul {spelled} {operands[0]}, {operands[1]}")
    return code.add(f"{dot}add {spelled} {product}, {operands[2]}")


RULES: dict[type[Operation], Rule] = {
    scalar.Neg: _negative,
    scalar.Abs: _magnitude,
    scalar.Sqrt: _function("sqrt"),
    scalar.Floor: _function("floor"),
    scalar.Ceil: _function("ceil"),
    scalar.Round: _function("roundeven"),
    scalar.Not: _invert,
    scalar.Add: _plain("fadd", "add"),
    scalar.Sub: _plain("fsub", "sub"),
    scalar.Mul: _plain("fmul", "mul"),
    scalar.Div: _division("fdiv", "div"),
    scalar.Rem: _division("", "rem"),
    scalar.Min: _extreme("min"),
    scalar.Max: _extreme("max"),
    scalar.And: _plain("", "and"),
    scalar.Or: _plain("", "or"),
    scalar.Xor: _plain("", "xor"),
    scalar.Shl: _plain("", "shl"),
    scalar.Shr: _plain("", "ashr", "lshr"),
    scalar.Fma: _fused,
    scalar.MulAdd: _multiply_add,
}


# ---- choices ---------------------------------------------------------------------------------------------------

_ORDERED = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}


def _flags(kind: Element) -> str:
    return vector_name("i1", lanes_of(kind))


def _compare(code: Code, kind: Element, predicate: str, operands: Sequence[str]) -> str:
    lanes = lanes_of(kind)
    if kind.dtype.is_half:
        operands = [to_f32(code, kind.dtype, lanes, o) for o in operands]
        kind = with_lanes(F32, lanes)
    spelled = type_name(kind)
    if kind.dtype.is_float:
        return code.add(f"fcmp {_ORDERED[predicate]} {spelled} {operands[0]}, {operands[1]}")
    sign = "" if predicate in ("eq", "ne") else "s" if kind.dtype.kind == "int" else "u"
    return code.add(f"icmp {sign}{predicate} {spelled} {operands[0]}, {operands[1]}")


def _select(code: Code, operation: scalar.Select, operands: Sequence[str]) -> str:
    kind = type_name(_element(operation))
    condition, x, y = operands
    return code.add(f"select {type_name(_operand_type(operation))} {condition}, {kind} {x}, {kind} {y}")


# ---- lanes and bits --------------------------------------------------------------------------------------------


def _broadcast(code: Code, kind: Element, x: str) -> str:
    element, lanes = scalar_name(kind.dtype), lanes_of(kind)
    if lanes == 1:
        return x
    if is_constant(x):
        return f"splat ({element} {x})"
    # A sum over formulas is the same in all iterations of the loops further in; LLVM moves the splat of it out.
    return code.splat(x, element, lanes)


def _bitcast(code: Code, old: Element, new: Element, x: str) -> str:
    source, target = type_name(old), type_name(new)
    if old.dtype.kind == "bool" != new.dtype.kind:
        return code.add(f"zext {source} {x} to {target}")
    if new.dtype.kind == "bool" != old.dtype.kind:
        return code.add(f"icmp ne {source} {x}, {literal(0, old)}")
    return x if source == target else code.add(f"bitcast {source} {x} to {target}")


_FOLDS: dict[str, type[Operation]] = {"add": scalar.Add, "mul": scalar.Mul, "min": scalar.Min, "max": scalar.Max}


def _fold(code: Code, kind: Element, name: str, x: str) -> str:
    """Halves meet until one lane is left; an odd lane waits for the last."""
    dtype, lanes = kind.dtype, lanes_of(kind)
    if dtype.is_half:
        wide = _fold(code, with_lanes(F32, lanes), name, to_f32(code, dtype, lanes, x))
        return from_f32(code, dtype, 1, wide)
    rule = _boolean_fold(code, dtype, name) if dtype.kind == "bool" else RULES[_FOLDS[name]]
    rest: list[str] = []
    while lanes > 1:
        if lanes % 2:
            rest.append(code.add(f"extractelement {vector_name(scalar_name(dtype), lanes)} {x}, i64 {lanes - 1}"))
            lanes -= 1
            x = _part(code, dtype, lanes + 1, x, 0, lanes)
        half = lanes // 2
        low, high = _part(code, dtype, lanes, x, 0, half), _part(code, dtype, lanes, x, half, half)
        x, lanes = rule(code, with_lanes(dtype, half), [low, high]), half
    for one in rest:
        x = rule(code, ScalarType(dtype), [x, one])
    return x


def _boolean_fold(code: Code, dtype: DType, name: str) -> Rule:
    if name not in ("min", "max"):
        raise CodegenError(f"kernel @{code.name}: kernel.reduce_lanes of kind {name} on {dtype}; expected min or max")
    return _plain("", "and" if name == "min" else "or")


def _part(code: Code, dtype: DType, lanes: int, x: str, start: int, count: int) -> str:
    """`count` lanes from `start` on."""
    kind = vector_name(scalar_name(dtype), lanes)
    if count == 1:
        return code.add(f"extractelement {kind} {x}, i64 {start}")
    places = ", ".join(f"i32 {start + i}" for i in range(count))
    return code.add(f"shufflevector {kind} {x}, {kind} poison, <{count} x i32> <{places}>")
