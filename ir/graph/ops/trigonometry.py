"""graph.sin, cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh: angles and hyperbolic angles.

    %y = graph.sin %x : f32[n, 64]

All but sine, cosine and arc tangent are made of these, of logarithms and exponentials, by formulas that keep their
relative accuracy near 0.  Sine, cosine and tangent of an angle beyond 2e8 are NaN.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.graph.references import through_f64
from headrace.ir.graph.sampling import build, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.scalar import LARGEST_ANGLE
from headrace.ir.types import F64, element_dtype

SERIES = 10  # terms of the hyperbolic sine's series below 1: enough for f64


class Angle(Elementwise):
    """Base: a function of one float, given in float64."""

    x: Value
    dtypes = ("float",)
    folds = False
    several_steps = True
    sampled: ClassVar[tuple[float, float]] = (-2.0, 2.0)

    @abstractmethod
    def exact(self, x: Array) -> Any:
        """The function on float64."""
        raise NotImplementedError

    def reference(self, *operands: Array) -> Array:
        return through_f64(self.exact, *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Angle:
        return build(cls, some(sampler, low=cls.sampled[0], high=cls.sampled[1]))


@op("graph.sin", onnx=[OnnxForm("Sin", since=7)])
class Sin(Angle):
    """The sine."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.sin(*xs)

    def exact(self, x: Array) -> Any:
        return np.sin(_moderate(x))


@op("graph.cos", onnx=[OnnxForm("Cos", since=7)])
class Cos(Angle):
    """The cosine."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.cos(*xs)

    def exact(self, x: Array) -> Any:
        return np.cos(_moderate(x))


@op("graph.tan", onnx=[OnnxForm("Tan", since=7)])
class Tan(Angle):
    """The tangent: sine over cosine."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.div(b.sin(*xs), b.cos(*xs))

    def exact(self, x: Array) -> Any:
        return np.tan(_moderate(x))


@op("graph.asin", onnx=[OnnxForm("Asin", since=7)])
class Asin(Angle):
    """The angle whose sine is x: atan(x / sqrt((1 - x)(1 + x)))."""

    x: Value
    sampled = (-1.0, 1.0)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, one = xs[0], b.constant(1, xs[0])
        return b.atan(b.div(x, b.sqrt(b.mul(b.sub(one, x), b.add(one, x)))))

    def exact(self, x: Array) -> Any:
        return np.arcsin(x)


@op("graph.acos", onnx=[OnnxForm("Acos", since=7)])
class Acos(Angle):
    """The angle whose cosine is x: 2 atan(sqrt((1 - x) / (1 + x)))."""

    x: Value
    sampled = (-1.0, 1.0)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, one = xs[0], b.constant(1, xs[0])
        half = b.atan(b.sqrt(b.div(b.sub(one, x), b.add(one, x))))
        return b.add(half, half)

    def exact(self, x: Array) -> Any:
        return np.arccos(x)


@op("graph.atan", onnx=[OnnxForm("Atan", since=7)])
class Atan(Angle):
    """The angle whose tangent is x."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.atan(*xs)

    def exact(self, x: Array) -> Any:
        return np.arctan(x)


@op("graph.sinh", onnx=[OnnxForm("Sinh", since=9)])
class Sinh(Angle):
    """The hyperbolic sine: a series below 1, else by exponentials, in two factors that overflow no earlier than it."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = xs[0]
        square, total, factor = b.mul(x, x), b.constant(1, x), 1.0
        for n in range(SERIES, 0, -1):
            factor = 1 / (2 * n * (2 * n + 1))
            total = b.muladd(b.mul(square, b.constant(factor, x)), total, b.constant(1, x))
        half, root = b.constant(0.5, x), b.exp(b.mul(b.abs(x), b.constant(0.5, x)))
        large = b.sub(b.mul(b.mul(half, root), root), b.mul(half, b.exp(b.neg(b.abs(x)))))
        signed = b.select(b.compare("lt", x, b.constant(0, x)), b.neg(large), large)
        return b.select(b.compare("lt", b.abs(x), b.constant(1, x)), b.mul(x, total), signed)

    def exact(self, x: Array) -> Any:
        return np.sinh(x)


@op("graph.cosh", onnx=[OnnxForm("Cosh", since=9)])
class Cosh(Angle):
    """The hyperbolic cosine, by exponentials."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = b.abs(xs[0])
        half, root = b.constant(0.5, x), b.exp(b.mul(x, b.constant(0.5, x)))
        return b.add(b.mul(b.mul(half, root), root), b.mul(half, b.exp(b.neg(x))))

    def exact(self, x: Array) -> Any:
        return np.cosh(x)


@op("graph.asinh", onnx=[OnnxForm("Asinh", since=9)])
class Asinh(Angle):
    """The inverse of sinh: log(1 + t) for t = |x| + x^2 / (1 + sqrt(x^2 + 1)), with the sign of x."""

    x: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, one = b.abs(xs[0]), b.constant(1, xs[0])
        square = b.mul(x, x)
        moderate = _log1p(b, b.add(x, b.div(square, b.add(one, b.sqrt(b.add(square, one))))))
        found = b.select(_is_large(b, x), b.add(b.log(x), b.constant(np.log(2), x)), moderate)
        return b.select(
            b.compare("lt", xs[0], b.constant(0, x)),
            b.neg(found),
            b.select(b.compare("eq", x, b.constant(0, x)), xs[0], found),
        )

    def exact(self, x: Array) -> Any:
        return np.arcsinh(x)


@op("graph.acosh", onnx=[OnnxForm("Acosh", since=9)])
class Acosh(Angle):
    """The inverse of cosh: log(1 + t + sqrt(2t + t^2)) for t = x - 1."""

    x: Value
    sampled = (1.0, 9.0)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = xs[0]
        t = b.sub(x, b.constant(1, x))
        moderate = _log1p(b, b.add(t, b.sqrt(b.mul(t, b.add(t, b.constant(2, x))))))
        found = b.select(_is_large(b, x), b.add(b.log(x), b.constant(np.log(2), x)), moderate)
        # Far below 1 both roots of the formula come near each other or overflow.
        return b.select(b.compare("lt", t, b.constant(0, x)), b.constant(np.nan, x), found)

    def exact(self, x: Array) -> Any:
        return np.arccosh(x)


@op("graph.atanh", onnx=[OnnxForm("Atanh", since=9)])
class Atanh(Angle):
    """The inverse of tanh: log(1 + 2x / (1 - x)) / 2, of |x|, with the sign of x."""

    x: Value
    sampled = (-1.0, 1.0)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, one = b.abs(xs[0]), b.constant(1, xs[0])
        found = b.mul(b.constant(0.5, x), _log1p(b, b.div(b.add(x, x), b.sub(one, x))))
        return b.select(
            b.compare("lt", xs[0], b.constant(0, x)),
            b.neg(found),
            b.select(b.compare("eq", x, b.constant(0, x)), xs[0], found),
        )

    def exact(self, x: Array) -> Any:
        return np.arctanh(x)


def _moderate(x: Array) -> Array:
    """Angles, NaN in place of those that are too large."""
    return np.where(np.abs(x) <= LARGEST_ANGLE, x, np.nan)


def _is_large(b: ScalarBuilder, x: Value) -> Value:
    """Whether log(2x) is as good: x^2 may overflow later, and 1/(4x^2) of it is less than what is rounded off."""
    return b.compare("gt", x, b.constant(1e8 if element_dtype(x.type) == F64 else 1e4, x))


def _log1p(b: ScalarBuilder, x: Value) -> Value:
    """log(1 + x) for x >= 0: the logarithm of the rounded sum, and what was rounded off over the sum."""
    u = b.add(b.constant(1, x), x)
    lost = b.div(b.sub(x, b.sub(u, b.constant(1, x))), u)
    return b.select(b.compare("lt", u, b.constant(np.inf, x)), b.add(b.log(u), lost), x)
