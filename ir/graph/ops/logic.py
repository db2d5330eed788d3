"""graph.and, or, xor, not: logic on bools, or on the bits of integers; operands broadcast.

%y = graph.and %a, %b : bool[n, 64]
"""

from __future__ import annotations

import numpy as np

from headrace.ir.core import Value, producer
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.graph.sampling import broadcast_operands, build, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import BOOL, I32


class Logic(Elementwise):
    """Base of the operations on two operands."""

    a: Value
    b: Value
    dtypes = ("bool", "int", "uint")

    @classmethod
    def sample(cls, sampler: Sampler) -> Logic:
        return build(cls, *broadcast_operands(sampler, 2, BOOL if sampler.rng.random() < 0.5 else I32))


@op("graph.and", onnx=[OnnxForm("And", since=7), OnnxForm("BitwiseAnd", since=18)])
class And(Logic):
    """Both."""

    a: Value
    b: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.bit_and(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.bitwise_and(*operands)


@op("graph.or", onnx=[OnnxForm("Or", since=7), OnnxForm("BitwiseOr", since=18)])
class Or(Logic):
    """At least one."""

    a: Value
    b: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.bit_or(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.bitwise_or(*operands)


@op("graph.xor", onnx=[OnnxForm("Xor", since=7), OnnxForm("BitwiseXor", since=18)])
class Xor(Logic):
    """Exactly one."""

    a: Value
    b: Value

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.bit_xor(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.bitwise_xor(*operands)


@op("graph.not", onnx=[OnnxForm("Not"), OnnxForm("BitwiseNot", since=18)])
class Not(Elementwise):
    """The other bool; every bit flipped for integers."""

    x: Value
    dtypes = ("bool", "int", "uint")

    def fold(self) -> Value | None:
        inner = producer(self.x, Not)
        return inner.x if inner else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.invert(*xs)

    def reference(self, *operands: Array) -> Array:
        return np.invert(*operands)

    @classmethod
    def sample(cls, sampler: Sampler) -> Not:
        return cls(some(sampler, BOOL))
