"""graph.sigmoid, tanh, erf, gelu, leaky_relu: activations, element by element.

    %y = graph.gelu %x {approximate = "none"} : f32[n, 64]
    %z = graph.leaky_relu %x {alpha = 0.01} : f32[n, 64]

A NaN stays a NaN.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.graph.references import erf, through_f64
from headrace.ir.graph.sampling import chance, some
from headrace.ir.kernel.build import ScalarBuilder


def logistic(b: ScalarBuilder, x: Value) -> Value:
    """exp(x) / (1 + exp(x)) for negative x: the exponential of -x overflows where that is still a denormal."""
    one, small = b.constant(1, x), b.exp_nonpositive(b.neg(b.abs(x)))
    return b.div(b.select(b.compare("lt", x, b.constant(0, x)), small, one), b.add(one, small))


def logistic_reference(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, 1) / (1 + small))


@op("graph.sigmoid", onnx=[OnnxForm("Sigmoid", since=6)])
class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""

    x: Value
    dtypes = ("float",)
    folds = False
    several_steps = True

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return logistic(b, *xs)

    def reference(self, *operands: Array) -> Array:
        return through_f64(logistic_reference, *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Sigmoid:
        return cls(some(sampler))


@op("graph.tanh", onnx=[OnnxForm("Tanh", since=6)])
class Tanh(Elementwise):
    """The hyperbolic tangent."""

    x: Value
    dtypes = ("float",)
    folds = False

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.tanh(*xs)

    def reference(self, *operands: Array) -> Array:
        return through_f64(np.tanh, *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Tanh:
        return cls(some(sampler))


@op("graph.erf", onnx=[OnnxForm("Erf", since=9)])
class Erf(Elementwise):
    """The error function."""

    x: Value
    dtypes = ("float",)
    folds = False

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.erf(*xs)

    def reference(self, *operands: Array) -> Array:
        return through_f64(erf, *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Erf:
        return cls(some(sampler))


@op("graph.gelu", onnx=[OnnxForm("Gelu", since=20)])
class Gelu(Elementwise):
    """x times the normal distribution function of x: by erf, or by the usual formula in tanh."""

    x: Value
    approximate: Literal["none", "tanh"] = "none"
    dtypes = ("float",)
    folds = False
    several_steps = True

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = xs[0]
        half, one = b.constant(0.5, x), b.constant(1, x)
        if self.approximate == "none":
            grown = b.erf(b.mul(x, b.constant(math.sqrt(0.5), x)))
        else:
            cube = b.mul(b.mul(b.mul(x, x), x), b.constant(0.044715, x))
            grown = b.tanh(b.mul(b.constant(math.sqrt(2 / math.pi), x), b.add(x, cube)))
        return b.mul(b.mul(half, x), b.add(one, grown))

    def reference(self, *operands: Array) -> Array:
        if self.approximate == "none":
            return through_f64(lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5))), *operands)
        scale = math.sqrt(2 / math.pi)
        return through_f64(lambda x: 0.5 * x * (1 + np.tanh(scale * (x + 0.044715 * x**3))), *operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Gelu:
        return cls(some(sampler), "none" if chance(sampler, 0.5) else "tanh")


@op("graph.leaky_relu", onnx=[OnnxForm("LeakyRelu", since=6)])
class LeakyRelu(Elementwise):
    """x where x >= 0, alpha * x elsewhere."""

    x: Value
    alpha: float = 0.01
    dtypes = ("float",)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = xs[0]
        return b.select(b.compare("lt", x, b.constant(0, x)), b.mul(x, b.constant(self.alpha, x)), x)

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        return np.where(x < 0, x * x.dtype.type(self.alpha), x)

    @classmethod
    def sample(cls, sampler: Sampler) -> LeakyRelu:
        return cls(some(sampler), float(sampler.rng.choice([0.01, 0.25, -0.5])))
