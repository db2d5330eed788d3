"""graph.add, sub, mul, div, rem, mod, min, max, neg, abs: arithmetic element by element, operands broadcast.

    %y = graph.add %a, %b : f32[n, 64]

Numbers: integers wrap; an integer quotient is cut towards zero, and is 0 where the divisor is 0; min and max
of a NaN are NaN.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value, producer
from headrace.ir.declare import OnnxForm, op
from headrace.ir.dims import Dim, Facts, dim_max, dim_min
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Elementwise, Known, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.fmod import FMod
from headrace.ir.graph.sampling import broadcast_operands, build, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, I32, element_dtype


class Arithmetic(Elementwise):
    """Base of the operations on two operands of one element type."""

    a: Value
    b: Value

    @abstractmethod
    def formula(self, a: Dim, b: Dim) -> Dim | None:
        """The same on formulas; None where it depends on their values."""
        raise NotImplementedError

    def shape_values(self, known: Known) -> Known | None:
        return shape_values.elementwise(self, known, self.formula)

    @classmethod
    def sample(cls, sampler: Sampler) -> Arithmetic:
        return build(cls, *broadcast_operands(sampler, 2, F32 if sampler.rng.random() < 0.7 else I32))


@op("graph.add", onnx=[OnnxForm("Add", since=7)])
class Add(Arithmetic):
    """a + b."""

    a: Value
    b: Value

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        return a + b

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.add(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.add(*operands)


@op("graph.sub", onnx=[OnnxForm("Sub", since=7)])
class Sub(Arithmetic):
    """a - b."""

    a: Value
    b: Value

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        return a - b

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.sub(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.subtract(*operands)


@op("graph.mul", onnx=[OnnxForm("Mul", since=7)])
class Mul(Arithmetic):
    """a * b."""

    a: Value
    b: Value

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        return a * b

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.mul(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.multiply(*operands)


@op("graph.div", onnx=[OnnxForm("Div", since=7)])
class Div(Arithmetic):
    """a / b; for integers cut towards zero."""

    a: Value
    b: Value

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        if not b.is_constant:
            return None
        if a.is_constant:
            sign = -1 if (a.value < 0) != (b.value < 0) else 1
            return Dim.constant(sign * (abs(a.value) // abs(b.value)) if b.value else 0)
        return a // b if b.value > 0 and Facts().less_equal(0, a) is True else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.div(*xs)

    def reference(self, *operands: Array) -> Array:
        lhs, rhs = operands
        if lhs.dtype.kind not in "iu":
            return np.divide(lhs, rhs)
        return _cut(*np.broadcast_arrays(lhs, rhs))


def _cut(lhs: Array, rhs: Array) -> Array:
    """The integer quotient cut towards zero, wrapping, 0 for a divisor of 0."""
    safe = np.where(rhs == 0, np.ones_like(rhs), rhs)
    quotient = np.floor_divide(lhs, safe)
    inexact = (quotient * safe != lhs) & ((lhs < 0) != (safe < 0))
    return np.where(rhs == 0, np.zeros_like(lhs), quotient + inexact.astype(lhs.dtype))


@op("graph.min")
class Min(Arithmetic):
    """The smaller one; NaN if either is."""

    a: Value
    b: Value

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        return dim_min(a, b)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.minimum(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.minimum(*operands)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Min", self.a, self.b)


@op("graph.max")
class Max(Arithmetic):
    """The larger one; NaN if either is."""

    a: Value
    b: Value

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        return dim_max(a, b)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.maximum(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.maximum(*operands)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Max", self.a, self.b)


@op("graph.rem")
class Rem(Arithmetic):
    """What the quotient cut towards zero leaves, for integers; it has the sign of a, and is 0 where b is 0."""

    a: Value
    b: Value
    dtypes = ("int", "uint")

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        positive = b.is_constant and b.value > 0 and Facts().less_equal(0, a) is True
        return a % b if positive else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.rem(*xs)

    def reference(self, *operands: Array) -> Array:
        lhs, rhs = np.broadcast_arrays(*operands)
        return np.where(rhs == 0, np.zeros_like(lhs), np.fmod(lhs, np.where(rhs == 0, np.ones_like(rhs), rhs)))

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Mod", self.a, self.b, fmod=1)

    @classmethod
    def sample(cls, sampler: Sampler) -> Rem:
        return cls(*broadcast_operands(sampler, 2, I32))


@op("graph.mod")
class Mod(Arithmetic):
    """What the quotient rounded down leaves, for integers; it has the sign of b, and is 0 where b is 0."""

    a: Value
    b: Value
    dtypes = ("int", "uint")

    def formula(self, a: Dim, b: Dim) -> Dim | None:
        return a % b if b.is_constant and b.value > 0 else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        lhs, rhs = xs
        zero, left = b.constant(0, lhs), b.rem(lhs, rhs)
        apart = b.compare("ne", b.compare("lt", left, zero), b.compare("lt", rhs, zero))
        return b.select(b.bit_and(b.compare("ne", left, zero), apart), b.add(left, rhs), left)

    def reference(self, *operands: Array) -> Array:
        lhs, rhs = np.broadcast_arrays(*operands)
        return np.where(rhs == 0, np.zeros_like(lhs), np.mod(lhs, np.where(rhs == 0, np.ones_like(rhs), rhs)))

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Mod", self.a, self.b)

    @classmethod
    def sample(cls, sampler: Sampler) -> Mod:
        return cls(*broadcast_operands(sampler, 2, I32))


@op("graph.neg", onnx=[OnnxForm("Neg", since=6)])
class Neg(Elementwise):
    """Minus x; the sign bit flipped for floats, wrapping for integers."""

    x: Value
    dtypes = ("float", "int")

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.neg(*xs)

    def fold(self) -> Value | None:
        inner = producer(self.x, Neg)
        return inner.x if inner else None

    def shape_values(self, known: Known) -> Known | None:
        return shape_values.elementwise(self, known, lambda x: -x)

    def reference(self, *operands: Array) -> Array:
        return np.negative(*operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Neg:
        return cls(some(sampler))


@op("graph.abs", onnx=[OnnxForm("Abs", since=6)])
class Abs(Elementwise):
    """The magnitude of x; the sign bit cleared for floats, wrapping for integers."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return xs[0] if element_dtype(xs[0].type).kind == "uint" else b.abs(*xs)

    def fold(self) -> Value | None:
        return self.x if producer(self.x, Abs) else None

    def reference(self, *operands: Array) -> Array:
        return np.abs(*operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Abs:
        return cls(some(sampler))


@onnx_import("Min", "Max", "Sum", since=6)
def _folded(node: OnnxNode) -> Sequence[Value]:
    """Any number of operands, folded from the left."""
    kind = {"Min": Min, "Max": Max}.get(node.op_type, Add)
    found = node.operand(0)
    for number in range(1, node.input_count):
        found = node.add(kind(found, node.operand(number)))
    return [found]


@onnx_import("Mean", since=8)
def _mean(node: OnnxNode) -> Sequence[Value]:
    total, *_ = _folded(node)
    return [node.add(Div(total, node.add_constant(np.array(node.input_count, tensor(total).dtype.numpy))))]


@onnx_import("Mod", since=10)
def _mod(node: OnnxNode) -> Sequence[Value]:
    if node.tensor(0).dtype.is_float:
        return [node.add(FMod(node.operand(0), node.operand(1), not node.attribute("fmod", 0)))]
    kind = Rem if node.attribute("fmod", 0) else Mod
    return [node.add(build(kind, node.operand(0), node.operand(1)))]
