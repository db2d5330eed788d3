"""Arithmetic of the kernel dialect, on scalars or on vectors lane by lane.

    %c = kernel.add %a, %b : vector<16xf32>

Numbers: integers wrap; integer division and remainder by zero give 0; `min` and `max` propagate NaN; `fma`
rounds once, `muladd` once or twice as the target likes; `neg` flips the sign bit of a float.  Both operands of
a binary operation have one type.  `reference` is the meaning, on numpy arrays of the element type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.declare import op
from headrace.ir.types import BOOL, ScalarType, Type, VectorType, with_lanes

Array = np.ndarray[Any, Any]
Predicate = Literal["lt", "le", "gt", "ge", "eq", "ne"]
LARGEST_ANGLE = 2.0e8  # of sine and cosine
COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


def exact_fma(a: float, b: float, c: float) -> float:
    """a * b + c of three float64, rounded once, through rationals."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return a * b + c
    if not math.isfinite(c):
        return c  # a * b in float64 may be an infinity of the other sign
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact) if exact else a * b + c  # the sign of an exact zero follows IEEE addition
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def round_odd_sum(a: Array, b: Array) -> Array:
    """a + b in float64 rounded to odd: exact, or the neighbour whose last bit is set (TwoSum, Knuth)."""
    total = a + b
    back = total - a
    error = (a - (total - back)) + (b - back)
    bits = total.view(np.int64)
    even = (bits & 1) == 0
    away = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where(np.isfinite(total) & (error != 0) & even, bits + away, bits)
    return odd.view(np.float64)


class Pointwise(Operation):
    """Base: all operands and the result have one type, scalar or vector."""

    dtypes: ClassVar[tuple[str, ...]] = ("float", "int", "uint")  # kinds of element it takes

    def infer(self) -> Sequence[Type]:
        first = self.operands[0].type
        for operand in self.operands:
            if operand.type != first:
                raise self.fail(f"operands are {first} and {operand.type}, expected equal types")
        if not isinstance(first, ScalarType | VectorType) or first.dtype.kind not in self.dtypes:
            raise self.fail(f"operand is {first}, expected a scalar or vector of {' or '.join(self.dtypes)}")
        return [first]

    def reference(self, *operands: Array) -> Array:
        """The result's elements from the operands' (equal shapes, the declared dtype)."""
        raise NotImplementedError


class Unary(Pointwise):
    """One operand; a float function unless `dtypes` says otherwise."""

    x: Value
    dtypes: ClassVar[tuple[str, ...]] = ("float",)


class Binary(Pointwise):
    """Two operands of one type."""

    lhs: Value
    rhs: Value


# ---- unary -----------------------------------------------------------------------------------------------------


@op("kernel.neg")
class Neg(Unary):
    """Minus x; the sign bit flipped for floats."""

    x: Value
    dtypes = ("float", "int")

    def reference(self, *operands: Array) -> Array:
        return np.negative(operands[0])


@op("kernel.abs")
class Abs(Unary):
    """The magnitude of x; the sign bit cleared for floats."""

    x: Value
    dtypes = ("float", "int")

    def reference(self, *operands: Array) -> Array:
        return np.abs(operands[0])


@op("kernel.sqrt")
class Sqrt(Unary):
    """The square root, correctly rounded."""

    x: Value

    def reference(self, *operands: Array) -> Array:
        return np.sqrt(operands[0])


@op("kernel.floor")
class Floor(Unary):
    """The largest integer not above x."""

    x: Value

    def reference(self, *operands: Array) -> Array:
        return np.floor(operands[0])


@op("kernel.ceil")
class Ceil(Unary):
    """The smallest integer not below x."""

    x: Value

    def reference(self, *operands: Array) -> Array:
        return np.ceil(operands[0])


@op("kernel.round")
class Round(Unary):
    """The nearest integer, halves to even."""

    x: Value

    def reference(self, *operands: Array) -> Array:
        return np.rint(operands[0])


class Transcendental(Unary):
    """A function that `kernel.expand-math` writes out in arithmetic before code generation.

    The reference computes in float64 and rounds once.
    """

    def exact(self, x: Array) -> Array:
        """The function on float64."""
        raise NotImplementedError

    def reference(self, *operands: Array) -> Array:
        (x,) = operands
        return self.exact(x.astype(np.float64)).astype(x.dtype)


@op("kernel.exp")
class Exp(Transcendental):
    """e to the x."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.exp(x)


@op("kernel.exp_nonpositive")
class ExpNonpositive(Transcendental):
    """e to the x where x is at most 0, else 1: cheaper than `exp` where x cannot be above 0."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.exp(np.minimum(x, 0.0))


@op("kernel.log")
class Log(Transcendental):
    """The natural logarithm; -inf at 0, NaN below."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.log(x)


@op("kernel.tanh")
class Tanh(Transcendental):
    """The hyperbolic tangent."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.tanh(x)


@op("kernel.erf")
class Erf(Transcendental):
    """The error function."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


@op("kernel.sin")
class Sin(Transcendental):
    """The sine of an angle in radians; NaN beyond 2e8, where 26 bits hold no multiple of pi/2."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.where(np.abs(x) <= LARGEST_ANGLE, np.sin(x), np.nan)


@op("kernel.cos")
class Cos(Transcendental):
    """The cosine of an angle in radians; NaN beyond 2e8, as of the sine."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.where(np.abs(x) <= LARGEST_ANGLE, np.cos(x), np.nan)


@op("kernel.atan")
class Atan(Transcendental):
    """The angle, between -pi/2 and pi/2, whose tangent is x."""

    x: Value

    def exact(self, x: Array) -> Array:
        return np.arctan(x)


@op("kernel.not")
class Not(Unary):
    """The other boolean, or all bits of an integer flipped."""

    x: Value
    dtypes = ("bool", "int", "uint")

    def reference(self, *operands: Array) -> Array:
        return np.invert(operands[0])


# ---- binary ----------------------------------------------------------------------------------------------------


@op("kernel.add")
class Add(Binary):
    """lhs + rhs."""

    lhs: Value
    rhs: Value

    def reference(self, *operands: Array) -> Array:
        return np.add(*operands)


@op("kernel.sub")
class Sub(Binary):
    """lhs - rhs."""

    lhs: Value
    rhs: Value

    def reference(self, *operands: Array) -> Array:
        return np.subtract(*operands)


@op("kernel.mul")
class Mul(Binary):
    """lhs * rhs."""

    lhs: Value
    rhs: Value

    def reference(self, *operands: Array) -> Array:
        return np.multiply(*operands)


@op("kernel.div")
class Div(Binary):
    """lhs / rhs; for integers the quotient cut towards zero, 0 where rhs is 0, wrapping for MIN / -1."""

    lhs: Value
    rhs: Value

    def reference(self, *operands: Array) -> Array:
        lhs, rhs = operands
        if lhs.dtype.kind not in "iu":
            return np.divide(lhs, rhs)
        safe = np.where(rhs == 0, np.ones_like(rhs), rhs)
        quotient = np.floor_divide(lhs, safe)
        inexact = (quotient * safe != lhs) & ((lhs < 0) != (safe < 0))
        return np.where(rhs == 0, np.zeros_like(lhs), quotient + inexact.astype(lhs.dtype))


@op("kernel.rem")
class Rem(Binary):
    """What `div` leaves: lhs - div(lhs, rhs) * rhs, with lhs's sign; integers only; 0 where rhs is 0."""

    lhs: Value
    rhs: Value
    dtypes = ("int", "uint")

    def reference(self, *operands: Array) -> Array:
        lhs, rhs = operands
        safe = np.where(rhs == 0, np.ones_like(rhs), rhs)
        return np.where(rhs == 0, np.zeros_like(lhs), np.fmod(lhs, safe))


@op("kernel.min")
class Min(Binary):
    """The smaller; NaN if either is; -0.0 below 0.0 is not promised."""

    lhs: Value
    rhs: Value

    def reference(self, *operands: Array) -> Array:
        return np.minimum(*operands)


@op("kernel.max")
class Max(Binary):
    """The larger; NaN if either is; 0.0 above -0.0 is not promised."""

    lhs: Value
    rhs: Value

    def reference(self, *operands: Array) -> Array:
        return np.maximum(*operands)


@op("kernel.and")
class And(Binary):
    """Both booleans, or bit by bit."""

    lhs: Value
    rhs: Value
    dtypes = ("bool", "int", "uint")

    def reference(self, *operands: Array) -> Array:
        return np.bitwise_and(*operands)


@op("kernel.or")
class Or(Binary):
    """Either boolean, or bit by bit."""

    lhs: Value
    rhs: Value
    dtypes = ("bool", "int", "uint")

    def reference(self, *operands: Array) -> Array:
        return np.bitwise_or(*operands)


@op("kernel.xor")
class Xor(Binary):
    """Exactly one boolean, or bit by bit."""

    lhs: Value
    rhs: Value
    dtypes = ("bool", "int", "uint")

    def reference(self, *operands: Array) -> Array:
        return np.bitwise_xor(*operands)


@op("kernel.shl")
class Shl(Binary):
    """lhs shifted left by rhs bits, 0 <= rhs < width."""

    lhs: Value
    rhs: Value
    dtypes = ("int", "uint")

    def reference(self, *operands: Array) -> Array:
        return np.left_shift(*operands)


@op("kernel.shr")
class Shr(Binary):
    """lhs shifted right by rhs bits, 0 <= rhs < width; copies the sign for signed integers."""

    lhs: Value
    rhs: Value
    dtypes = ("int", "uint")

    def reference(self, *operands: Array) -> Array:
        return np.right_shift(*operands)


# ---- three operands --------------------------------------------------------------------------------------------


@op("kernel.fma")
class Fma(Pointwise):
    """a * b + c, rounded once."""

    a: Value
    b: Value
    c: Value
    dtypes = ("float",)

    def reference(self, *operands: Array) -> Array:
        a, b, c = operands
        if a.dtype.itemsize >= 8:
            return np.asarray(np.vectorize(exact_fma, otypes=[np.float64])(a, b, c))
        # The product of two f32 is exact in f64; rounding the sum to odd there makes the second rounding harmless.
        product = a.astype(np.float64) * b.astype(np.float64)
        return round_odd_sum(product, c.astype(np.float64)).astype(a.dtype)


@op("kernel.muladd")
class MulAdd(Pointwise):
    """a * b + c, rounded once or twice as is cheapest; the reference rounds twice."""

    a: Value
    b: Value
    c: Value

    def reference(self, *operands: Array) -> Array:
        a, b, c = operands
        return np.add(np.multiply(a, b), c)


@op("kernel.select")
class Select(Operation):
    """`x` where the condition holds, `y` elsewhere; a scalar condition chooses whole vectors."""

    condition: Value
    x: Value
    y: Value

    def infer(self) -> Sequence[Type]:
        kind = self.x.type
        if kind != self.y.type or not isinstance(kind, ScalarType | VectorType):
            raise self.fail(f"chooses between {kind} and {self.y.type}, expected equal scalars or vectors")
        lanes = kind.lanes if isinstance(kind, VectorType) else 1
        if self.condition.type not in (with_lanes(BOOL, lanes), ScalarType(BOOL)):
            raise self.fail(f"the condition is {self.condition.type}, expected {with_lanes(BOOL, lanes)}")
        return [kind]


@op("kernel.compare")
class Compare(Operation):
    """lhs `predicate` rhs; with a NaN only `ne` holds."""

    lhs: Value
    rhs: Value
    predicate: Predicate

    def infer(self) -> Sequence[Type]:
        kind = self.lhs.type
        if kind != self.rhs.type or not isinstance(kind, ScalarType | VectorType):
            raise self.fail(f"compares {kind} with {self.rhs.type}, expected equal scalars or vectors")
        if kind.dtype.kind == "narrow":
            raise self.fail(f"compares {kind}, expected elements of a type that is computed in")
        return [with_lanes(BOOL, kind.lanes if isinstance(kind, VectorType) else 1)]

    def reference(self, lhs: Array, rhs: Array) -> Array:
        """Element by element, as booleans."""
        return np.asarray(COMPARISONS[self.predicate](lhs, rhs))
