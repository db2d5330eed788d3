"""graph.cast: the same numbers as another element type.

    %y = graph.cast %x {dtype = f32} : f32[n, 64]

To float: rounded to even.  Float to integer: cut towards zero, saturating, 0 for NaN.  Integer to integer:
wraps.  To bool: whether it is not 0.

    %q = graph.cast %x {dtype = f8e4m3fn} : f8e4m3fn[n, 64]

To a float of 8 or 4 bits: what is beyond its numbers becomes the last of them, or with `saturate = false` what the
format has for it, an infinity or NaN.  To f8e8m0fnu, which has powers of two only: in the direction of `rounding`.  To
an integer of 4 or 2 bits: wraps, from float after it was cut to i32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Elementwise, GraphOp, Known, Sampler, accumulator, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.narrow import Rounding, array_power_of_two, array_within, power_of_two, within
from headrace.ir.graph.sampling import chance, some
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.convert import cast_array
from headrace.ir.rewrite import Builder
from headrace.ir.types import BOOL, DTYPES, F16, F32, I32, DType, Type

# The numbers of onnx.TensorProto.DataType, which are part of the format.
_ONNX_TYPES = {
    1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 9: "bool", 10: "f16", 11: "f64", 12: "u32",
    13: "u64", 16: "bf16", 17: "f8e4m3fn", 18: "f8e4m3fnuz", 19: "f8e5m2", 20: "f8e5m2fnuz", 21: "u4", 22: "i4",
    23: "f4e2m1fn", 24: "f8e8m0fnu", 25: "u2", 26: "i2",
}  # fmt: skip


@op("graph.cast")
class Cast(Elementwise):
    """x as `dtype`."""

    x: Value
    dtype: DType
    saturate: bool = True
    rounding: Rounding = "up"
    dtypes = ("float", "int", "uint", "bool", "narrow")

    def infer(self) -> Sequence[Type]:
        return [tensor(self.x).with_dtype(self.dtype)]

    def fold(self) -> Value | None:
        return self.x if tensor(self.x).dtype == self.dtype else None

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        x = xs[0]
        if self.dtype.is_narrow_float:
            x = b.cast(x, F32)
            x = within(b, x, self.dtype) if self.saturate else x
            x = power_of_two(b, x, self.rounding) if self.dtype.name == "f8e8m0fnu" else x
        return b.cast(x, self.dtype)

    def shape_values(self, known: Known) -> Known | None:
        if self.dtype == BOOL and known[0] is not None and all(d.is_constant for d in known[0]):
            return [tuple(Dim.constant(int(d.value != 0)) for d in known[0])]
        # A narrower type may wrap, which no formula says; shapes are i64 or i32.
        return known if self.dtype.is_integer and self.dtype.bits >= 32 and self.dtype.kind == "int" else None

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        if self.dtype.is_narrow_float:
            x = x.astype(np.float32)
            x = array_within(x, self.dtype) if self.saturate else x
            x = array_power_of_two(x, self.rounding) if self.dtype.name == "f8e8m0fnu" else x
        return cast_array(x, self.dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Cast", self.x, to=self.dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> Cast:
        kinds = [F32, I32, F16, BOOL, *(d for d in DTYPES.values() if d.kind == "narrow")]
        source, target = (kinds[i] for i in sampler.rng.integers(0, len(kinds), 2))
        return cls(some(sampler, source, low=-9.0, high=9.0), target, chance(sampler, 0.7))


def in_f32(operation: GraphOp, builder: Builder) -> Sequence[Value] | None:
    """The results of an operation on 16-bit floats by the same one on f32, rounded once; None for other types.

    What decomposes into several steps starts so: a square between may overflow though the result does not.
    """
    narrow = [v for v in dict.fromkeys(operation.operands) if accumulator(tensor(v).dtype) != tensor(v).dtype]
    if not narrow:
        return None
    copy = operation.clone({v: builder.add(Cast(v, F32)).result for v in narrow})
    for result, kind in zip(copy.results, copy.infer(), strict=True):
        result.type = kind
    builder.add(copy)
    pairs = zip(copy.results, operation.results, strict=True)
    return [builder.add(Cast(new, tensor(old).dtype)).result for new, old in pairs]


def onnx_dtype(node: OnnxNode, number: int) -> DType:
    """The element type behind a number of ONNX's list.  Raises what the node raises where there is none."""
    if number not in _ONNX_TYPES:
        raise node.unsupported(f"element type number {number} is not one of {', '.join(DTYPES)}")
    return DTYPES[_ONNX_TYPES[number]]


@onnx_import("Cast", since=6)
def _cast(node: OnnxNode) -> Sequence[Value]:
    return [_converted(node, onnx_dtype(node, node.attribute("to", 0)))]


@onnx_import("CastLike", since=15)
def _cast_like(node: OnnxNode) -> Sequence[Value]:
    return [_converted(node, node.tensor(1).dtype)]


def _converted(node: OnnxNode, dtype: DType) -> Value:
    x, saturate, rounding = node.operand(0), bool(node.attribute("saturate", 1)), node.attribute("round_mode", "up")
    if rounding not in get_args(Rounding):
        raise node.fail(f"round_mode is {rounding!r}, expected {' or '.join(get_args(Rounding))}")
    if dtype.is_narrow_float and tensor(x).dtype != dtype:
        return node.add(Cast(x, dtype, saturate, cast(Rounding, rounding)))
    return as_dtype(node, x, dtype)


def as_dtype(node: OnnxNode, x: Value, dtype: DType) -> Value:
    """`x` with another element type; `x` itself where it has that one."""
    return x if tensor(x).dtype == dtype else node.add(Cast(x, dtype))
