"""The activation functions of recurrent cells, by the names that ONNX gives them.

In: a name, and the two parameters some of them take.  Out: the function, on scalars of a kernel and in numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.ir.core import Value
from headrace.ir.graph.families import Array
from headrace.ir.graph.ops.activations import logistic, logistic_reference
from headrace.ir.kernel.build import ScalarBuilder


@dataclass(frozen=True, slots=True)
class CellFunction:
    """One function of x, alpha and beta; a default is None where it takes no such parameter."""

    scalar: Callable[[ScalarBuilder, Value, float, float], Value]
    reference: Callable[[Array, float, float], Array]
    alpha: float | None = None
    beta: float | None = None


def _sigmoid(b: ScalarBuilder, x: Value, _alpha: float, _beta: float) -> Value:
    return logistic(b, x)


def _affine(b: ScalarBuilder, x: Value, alpha: float, beta: float) -> Value:
    return b.muladd(x, b.constant(alpha, x), b.constant(beta, x))


def _leaky_relu(b: ScalarBuilder, x: Value, alpha: float, _beta: float) -> Value:
    return b.select(b.compare("lt", x, b.constant(0, x)), b.mul(x, b.constant(alpha, x)), x)


def _thresholded_relu(b: ScalarBuilder, x: Value, alpha: float, _beta: float) -> Value:
    return b.select(b.compare("lt", x, b.constant(alpha, x)), b.constant(0, x), x)


def _hard_sigmoid(b: ScalarBuilder, x: Value, alpha: float, beta: float) -> Value:
    return b.minimum(b.maximum(_affine(b, x, alpha, beta), b.constant(0, x)), b.constant(1, x))


def _scaled_tanh(b: ScalarBuilder, x: Value, alpha: float, beta: float) -> Value:
    return b.mul(b.tanh(b.mul(x, b.constant(beta, x))), b.constant(alpha, x))


def _elu(b: ScalarBuilder, x: Value, alpha: float, _beta: float) -> Value:
    below = b.mul(b.sub(b.exp(x), b.constant(1, x)), b.constant(alpha, x))
    return b.select(b.compare("lt", x, b.constant(0, x)), below, x)


def _softsign(b: ScalarBuilder, x: Value, _alpha: float, _beta: float) -> Value:
    return b.div(x, b.add(b.abs(x), b.constant(1, x)))


def _softplus(b: ScalarBuilder, x: Value, _alpha: float, _beta: float) -> Value:
    """max(x, 0) + log(1 + exp(-|x|)): nothing overflows."""
    rest = b.log(b.add(b.exp(b.neg(b.abs(x))), b.constant(1, x)))
    return b.add(b.maximum(x, b.constant(0, x)), rest)


CELL_FUNCTIONS = {
    "Sigmoid": CellFunction(_sigmoid, lambda x, a, b: logistic_reference(x)),
    "Tanh": CellFunction(lambda b, x, _a, _b: b.tanh(x), lambda x, a, b: np.tanh(x)),
    "Relu": CellFunction(lambda b, x, _a, _b: b.maximum(x, b.constant(0, x)), lambda x, a, b: np.maximum(x, 0)),
    "Affine": CellFunction(_affine, lambda x, a, b: a * x + b, 1.0, 0.0),
    "LeakyRelu": CellFunction(_leaky_relu, lambda x, a, b: np.where(x < 0, a * x, x), 0.01),
    "ThresholdedRelu": CellFunction(_thresholded_relu, lambda x, a, b: np.where(x < a, 0, x), 1.0),
    "ScaledTanh": CellFunction(_scaled_tanh, lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "HardSigmoid": CellFunction(_hard_sigmoid, lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "Elu": CellFunction(_elu, lambda x, a, b: np.where(x < 0, a * np.expm1(x), x), 1.0),
    "Softsign": CellFunction(_softsign, lambda x, a, b: x / (1 + np.abs(x))),
    "Softplus": CellFunction(_softplus, lambda x, a, b: np.logaddexp(x, 0)),
}
