"""graph.exp, exp_nonpositive, log, sqrt, reciprocal, pow, pow_int: powers and their inverses, element by element.

    %y = graph.pow_int %x {exponent = 2} : f32[n, 64]
    %z = graph.pow %x, %e : f32[n, 64]

A constant integer exponent multiplies (`pow_int`); 0.5 becomes a square root on import; everything else goes
through logarithm and exponential, whose relative error grows with |y log x|.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Elementwise, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.cast import as_dtype
from headrace.ir.graph.references import through_f64
from headrace.ir.graph.sampling import broadcast_operands, broadcast_shapes, pick, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.convert import cast_array
from headrace.ir.types import F64, I32, I64, TensorType, Type, element_dtype

LARGEST_EXPONENT = 64  # beyond it, rounding of the products costs more than log and exp


@op("graph.exp", onnx=[OnnxForm("Exp", since=6)])
class Exp(Elementwise):
    """e to the x."""

    x: Value
    dtypes = ("float",)
    folds = False

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.exp(*xs)

    def reference(self, *operands: Array) -> Array:
        return through_f64(np.exp, *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Exp:
        return cls(some(sampler))


@op("graph.exp_nonpositive")
class ExpNonpositive(Elementwise):
    """e to the x where x is at most 0, else 1; what a softmax takes of differences to the maximum."""

    x: Value
    dtypes = ("float",)
    folds = False

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.exp_nonpositive(*xs)

    def reference(self, *operands: Array) -> Array:
        return through_f64(lambda x: np.exp(np.minimum(x, 0.0)), *operands)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        zero = w.constant(np.zeros((), tensor(self.x).dtype.numpy))
        return w.node("Exp", *w.node("Min", self.x, zero))

    @classmethod
    def sample(cls, sampler: Sampler) -> ExpNonpositive:
        return cls(some(sampler))


@op("graph.log", onnx=[OnnxForm("Log", since=6)])
class Log(Elementwise):
    """The natural logarithm; -inf at 0, NaN below."""

    x: Value
    dtypes = ("float",)
    folds = False

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.log(*xs)

    def reference(self, *operands: Array) -> Array:
        return through_f64(np.log, *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Log:
        return cls(some(sampler, low=0.1))


@op("graph.sqrt", onnx=[OnnxForm("Sqrt", since=6)])
class Sqrt(Elementwise):
    """The square root, correctly rounded; NaN below 0."""

    x: Value
    dtypes = ("float",)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.sqrt(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.sqrt(*operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Sqrt:
        return cls(some(sampler, low=0.0))


@op("graph.reciprocal", onnx=[OnnxForm("Reciprocal", since=6)])
class Reciprocal(Elementwise):
    """1 / x."""

    x: Value
    dtypes = ("float",)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.div(b.constant(1, xs[0]), xs[0])

    def reference(self, *operands: Array) -> Array:
        return np.asarray(np.divide(operands[0].dtype.type(1), operands[0]))

    @classmethod
    def sample(cls, sampler: Sampler) -> Reciprocal:
        return cls(some(sampler, low=0.5))


@op("graph.pow_int")
class PowInt(Elementwise):
    """x multiplied by itself; for a negative exponent the reciprocal of that, which needs floats."""

    x: Value
    exponent: int
    folds = False
    several_steps = True

    def verify_op(self) -> None:
        if self.exponent < 0 and not tensor(self.x).dtype.is_float:
            raise self.fail(f"exponent is {self.exponent} for {tensor(self.x).dtype}, expected 0 or more")

    def fold(self) -> Value | None:
        return self.x if self.exponent == 1 else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        left, square, product = abs(self.exponent), xs[0], None
        while left:
            if left & 1:
                product = square if product is None else b.mul(product, square)
            left >>= 1
            if left:
                square = b.mul(square, square)
        one = b.constant(1, xs[0])
        found = one if product is None else product
        return b.div(one, found) if self.exponent < 0 else found

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        if x.dtype.kind in "iu":
            return np.asarray(np.power(x, x.dtype.type(self.exponent)))
        return through_f64(lambda wide: wide ** float(self.exponent), x)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Pow", self.x, w.constant(np.array(self.exponent, tensor(self.x).dtype.numpy)))

    @classmethod
    def sample(cls, sampler: Sampler) -> PowInt:
        return cls(some(sampler, low=0.5), pick(sampler, -3, 5))


@op("graph.pow")
class Pow(Elementwise):
    """x to the y as IEEE says: 1 for y = 0 or x = 1; NaN for x < 0 unless y is an integer; the sign of x kept
    for odd y."""

    x: Value
    y: Value
    dtypes = ("float",)
    folds = False
    several_steps = True

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, y = xs
        zero, one, two = (b.constant(c, x) for c in (0, 1, 2))
        size = b.exp(b.mul(y, b.log(b.abs(x))))
        # 0 * inf where |x| is 1 and y infinite, and where y is 0 and |x| is 0 or infinite: the power is 1.
        size = b.select(b.bit_or(b.compare("eq", b.abs(x), one), b.compare("eq", y, zero)), one, size)
        half = b.div(y, two)
        is_whole = b.compare("eq", b.floor(y), y)
        is_odd = b.bit_and(is_whole, b.compare("ne", b.floor(half), half))
        # 1/x tells -0.0 from 0.0.
        is_negative = b.compare("lt", b.select(b.compare("eq", x, zero), b.div(one, x), x), zero)
        signed = b.select(b.bit_and(is_negative, is_odd), b.neg(size), size)
        is_wrong = b.bit_and(
            b.bit_and(b.compare("lt", x, zero), b.invert(is_whole)), b.compare("ne", b.neg(x), b.constant(np.inf, x))
        )
        found = b.select(is_wrong, b.constant(np.nan, x), signed)
        return b.select(b.bit_or(b.compare("eq", y, zero), b.compare("eq", x, one)), one, found)

    def reference(self, *operands: Array) -> Array:
        return through_f64(np.power, *operands)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Pow", self.x, self.y)

    @classmethod
    def sample(cls, sampler: Sampler) -> Pow:
        x, y = broadcast_operands(sampler, 2, low=0.25)
        return cls(x, y)


@op("graph.integer_pow")
class IntegerPow(Elementwise):
    """An integer x to the y, wrapping, cut towards zero: for y < 0 it is 0 unless x is 1 or -1.

    A y that is no integer goes through f64, where what is an integer but for rounding is one.
    """

    x: Value
    y: Value
    folds = False

    def infer(self) -> Sequence[Type]:
        x, y = tensor(self.x), tensor(self.y)
        if not x.dtype.is_integer:
            raise self.wrong_dtype(x.dtype, ("int", "uint"))
        if y.dtype.kind == "bool":
            raise self.wrong_dtype(y.dtype, ("float", "int", "uint"))
        return [self.broadcast([x, y])]

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, y = xs
        whole = y if element_dtype(y.type).is_integer else b.cast(y, I64)
        found = self._whole(b, x, whole)
        if whole is y:
            return found
        size = b.exp(b.mul(b.cast(y, F64), b.log(b.cast(x, F64))))  # NaN for a negative base, which becomes 0
        near = b.floor(b.add(size, b.constant(0.5, size)))
        off = b.abs(b.sub(size, near))
        size = b.select(b.compare("lt", off, b.mul(size, b.constant(2.0**-46, size))), near, size)
        return b.select(b.compare("eq", b.cast(whole, F64), b.cast(y, F64)), found, b.cast(size, element_dtype(x.type)))

    def _whole(self, b: ScalarBuilder, x: Value, y: Value) -> Value:
        """By squaring, a bit of y at a time."""
        zero, one = b.constant(0, y), b.constant(1, y)
        unit, square, left = b.constant(1, x), x, y
        found = unit
        for place in range(element_dtype(y.type).bits):
            if place:
                square = b.mul(square, square)
                left = b.shr(left, one)
            found = b.select(b.compare("ne", b.bit_and(left, one), zero), b.mul(found, square), found)
        odd = b.compare("ne", b.bit_and(y, one), zero)
        fraction = b.select(b.compare("eq", x, unit), unit, b.constant(0, x))
        if element_dtype(x.type).kind == "int":
            minus = b.neg(unit)
            fraction = b.select(b.compare("eq", x, minus), b.select(odd, minus, unit), fraction)
        return b.select(b.compare("lt", y, zero), fraction, found)

    def reference(self, *operands: Array) -> Array:
        x, y = np.broadcast_arrays(*operands)
        dtype = tensor(self.x).dtype
        whole = y if y.dtype.kind in "iu" else cast_array(y, I64)
        found, square, left = np.ones_like(x), x, whole
        with np.errstate(all="ignore"):
            for _ in range(8 * whole.itemsize):
                found = np.where(left & 1 != 0, found * square, found)
                square, left = square * square, left >> 1
            fraction = np.where(np.abs(x) == 1, np.where(whole % 2 == 0, 1, x), 0).astype(x.dtype)
            found = np.where(whole < 0, fraction, found)
            if whole is y:
                return found
            real = cast_array(np.power(x.astype(np.float64), y.astype(np.float64)), dtype)
            return np.where(whole.astype(np.float64) == y.astype(np.float64), found, real)

    @classmethod
    def sample(cls, sampler: Sampler) -> IntegerPow:
        shapes = broadcast_shapes(sampler, 2)
        x, y = (sampler.tensor(TensorType(I32, dims), -0.5, 1.5) for dims in shapes)
        return cls(x, y)


@onnx_import("Pow", since=7)
def _pow(node: OnnxNode) -> Sequence[Value]:
    x = node.operand(0)
    exponent = node.constant(1)
    if exponent is not None and exponent.size == 1 and exponent.ndim <= node.tensor(0).rank:
        number = float(exponent.reshape(()))
        if number == 0.5 and node.tensor(0).dtype.is_float:
            return [node.add(Sqrt(x))]
        lowest = -LARGEST_EXPONENT if node.tensor(0).dtype.is_float else 0
        if number.is_integer() and lowest <= number <= LARGEST_EXPONENT:
            return [node.add(PowInt(x, int(number)))]
    if not node.tensor(0).dtype.is_float:
        return [node.add(IntegerPow(x, node.operand(1)))]
    return [node.add(Pow(x, as_dtype(node, node.operand(1), node.tensor(0).dtype)))]
