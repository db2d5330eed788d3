"""graph.shift, graph.bit_cast: the bits of elements, moved or read as another type.

    %y = graph.shift %x, %by {direction = "LEFT"} : u8[n, 64]
    %z = graph.bit_cast %x {dtype = i32} : i32[n, 64]

A shift to the right fills with the sign of signed integers.  One by as many bits as there are, by more, or by a
negative number leaves what fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.graph.families import Array, Elementwise, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.cast import as_dtype, onnx_dtype
from headrace.ir.graph.sampling import broadcast_shapes, chance, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import BOOL, DTYPES, F32, I32, U8, DType, TensorType, Type, element_dtype


@op("graph.shift", onnx=[OnnxForm("BitShift", since=11)])
class Shift(Elementwise):
    """The bits of x moved `by` places."""

    x: Value
    by: Value
    direction: Literal["LEFT", "RIGHT"]
    dtypes = ("int", "uint")

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x, by = xs
        dtype = element_dtype(x.type)
        last, zero = b.constant(dtype.bits - 1, x), b.constant(0, x)
        fits = b.bit_and(b.compare("le", zero, by), b.compare("le", by, last))
        if self.direction == "LEFT":
            return b.select(fits, b.shl(x, b.select(fits, by, zero)), zero)
        if dtype.kind == "int":
            return b.shr(x, b.select(fits, by, last))
        return b.select(fits, b.shr(x, b.select(fits, by, zero)), zero)

    def reference(self, *operands: Array) -> Array:
        x, by = np.broadcast_arrays(*operands)
        bits = 8 * x.dtype.itemsize
        fits = (by >= 0) & (by < bits)
        small = np.where(fits, by, 0).astype(x.dtype)
        if self.direction == "LEFT":
            return np.where(fits, np.left_shift(x, small), 0).astype(x.dtype)
        return np.where(fits, np.right_shift(x, small), -(x < 0).astype(np.int8)).astype(x.dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> Shift:
        x, by = broadcast_shapes(sampler, 2)
        dtype, low = (I32, -2.0) if chance(sampler, 0.5) else (U8, 0.0)
        numbers = sampler.tensor(TensorType(dtype, x), low), sampler.tensor(TensorType(dtype, by), low, 9.0)
        return cls(*numbers, "LEFT" if chance(sampler, 0.5) else "RIGHT")


@op("graph.bit_cast")
class BitCast(Elementwise):
    """The bits of x read as `dtype`, which has as many."""

    x: Value
    dtype: DType

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if BOOL in (x.dtype, self.dtype) or x.dtype.bits != self.dtype.bits:
            names = [d.name for d in DTYPES.values() if d.bits == self.dtype.bits and d != BOOL]
            raise self.wrong_dtype(x.dtype, names)
        return [x.with_dtype(self.dtype)]

    def fold(self) -> Value | None:
        return self.x if tensor(self.x).dtype == self.dtype else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.bitcast(xs[0], self.dtype)

    def reference(self, *operands: Array) -> Array:
        return operands[0].view(self.dtype.numpy)

    @classmethod
    def sample(cls, sampler: Sampler) -> BitCast:
        source, target = (F32, I32) if chance(sampler, 0.5) else (I32, F32)
        return cls(some(sampler, source), target)


@onnx_import("BitCast", since=26)
def _bit_cast(node: OnnxNode) -> Sequence[Value]:
    x = node.operand(0)
    bytes_ = as_dtype(node, x, U8) if tensor(x).dtype == BOOL else x  # a byte of 0 or 1; no other byte is a bool
    return [node.add(BitCast(bytes_, onnx_dtype(node, node.attribute("to", 0))))]
