"""`ScalarBuilder`: arithmetic inside a kernel region, one call an operation.

In: a rewriting builder and scalar or vector values.  Out: the value of each new operation.  Op declarations
use it to say what one element of their result is (`scalar`, `pull`, `step`).
"""

from __future__ import annotations

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops import convert, scalar
from headrace.ir.rewrite import Builder
from headrace.ir.types import I64, DType, ScalarType, Type, element_dtype


class ScalarBuilder:
    """Adds arithmetic at a builder's insertion point."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder

    def constant(self, value: float | int | bool, like: Value | DType | Type) -> Value:
        """A number of the type of `like`."""
        kind = like.type if isinstance(like, Value) else ScalarType(like) if isinstance(like, DType) else like
        number: float | int | bool = value
        if element_dtype(kind).is_float:
            number = float(value)
        return self.builder.add(convert.Constant(number, kind)).result

    def index(self, value: Dim, dtype: DType = I64) -> Value:
        """The value of an integer formula."""
        return self.builder.add(convert.Index(value, dtype)).result

    def holds(self, *where: Dim) -> Value:
        """Whether each formula is >= 0."""
        return self.builder.add(convert.Holds(where)).result

    def neg(self, x: Value) -> Value:
        return self.builder.add(scalar.Neg(x)).result

    def abs(self, x: Value) -> Value:
        return self.builder.add(scalar.Abs(x)).result

    def sqrt(self, x: Value) -> Value:
        return self.builder.add(scalar.Sqrt(x)).result

    def floor(self, x: Value) -> Value:
        return self.builder.add(scalar.Floor(x)).result

    def ceil(self, x: Value) -> Value:
        return self.builder.add(scalar.Ceil(x)).result

    def round(self, x: Value) -> Value:
        return self.builder.add(scalar.Round(x)).result

    def exp(self, x: Value) -> Value:
        return self.builder.add(scalar.Exp(x)).result

    def exp_nonpositive(self, x: Value) -> Value:
        return self.builder.add(scalar.ExpNonpositive(x)).result

    def log(self, x: Value) -> Value:
        return self.builder.add(scalar.Log(x)).result

    def tanh(self, x: Value) -> Value:
        return self.builder.add(scalar.Tanh(x)).result

    def erf(self, x: Value) -> Value:
        return self.builder.add(scalar.Erf(x)).result

    def sin(self, x: Value) -> Value:
        return self.builder.add(scalar.Sin(x)).result

    def cos(self, x: Value) -> Value:
        return self.builder.add(scalar.Cos(x)).result

    def atan(self, x: Value) -> Value:
        return self.builder.add(scalar.Atan(x)).result

    def invert(self, x: Value) -> Value:
        """`kernel.not`."""
        return self.builder.add(scalar.Not(x)).result

    def add(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Add(lhs, rhs)).result

    def sub(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Sub(lhs, rhs)).result

    def mul(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Mul(lhs, rhs)).result

    def div(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Div(lhs, rhs)).result

    def rem(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Rem(lhs, rhs)).result

    def minimum(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Min(lhs, rhs)).result

    def maximum(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Max(lhs, rhs)).result

    def bit_and(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.And(lhs, rhs)).result

    def bit_or(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Or(lhs, rhs)).result

    def bit_xor(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Xor(lhs, rhs)).result

    def shl(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Shl(lhs, rhs)).result

    def shr(self, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Shr(lhs, rhs)).result

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        return self.builder.add(scalar.Fma(a, b, c)).result

    def muladd(self, a: Value, b: Value, c: Value) -> Value:
        return self.builder.add(scalar.MulAdd(a, b, c)).result

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self.builder.add(scalar.Select(condition, x, y)).result

    def compare(self, predicate: scalar.Predicate, lhs: Value, rhs: Value) -> Value:
        return self.builder.add(scalar.Compare(lhs, rhs, predicate)).result

    def cast(self, x: Value, dtype: DType) -> Value:
        """Nothing is added where `x` has that type already."""
        return x if element_dtype(x.type) == dtype else self.builder.add(convert.Cast(x, dtype)).result

    def bitcast(self, x: Value, dtype: DType) -> Value:
        return self.builder.add(convert.Bitcast(x, dtype)).result
