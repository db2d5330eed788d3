"""graph.quantize, graph.dequantize: floats as small integers and back; graph.repeat: elements several times in a row.

    %y = graph.dequantize %w, %scale, %zero : f32[384, 1536]      // (w - zero) * scale
    %q = graph.quantize %x, %scale, %zero {dtype = u8} : u8[n, 64]   // round(x / scale) + zero, saturating
    %s = graph.repeat %scale {axis = 1, times = 32, size = 768} : f32[64, 768]

Scale and zero point broadcast against the rest: the importer gives those of an axis its place, and repeats those of
blocks.  The zero point may be missing, and is left out where it is 0.  Halves are rounded to even, a NaN is quantized
to 0; 16-bit floats are computed in f32.  Integers of 4 and 2 bits and floats of 8 and 4 are quantized to as well; a
float is not rounded to a whole number first, and has NaN if the format has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, dim_max
from headrace.ir.graph.exporting import OnnxWriter, refuse
from headrace.ir.graph.families import Array, DimCheck, Elementwise, Index, Movement, Sampler, accumulator, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.narrow import array_within, within
from headrace.ir.graph.ops.arithmetic import Div
from headrace.ir.graph.ops.cast import Cast, as_dtype, onnx_dtype
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import broadcast_shapes, chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.convert import cast_array
from headrace.ir.types import DTYPES, F32, I8, U8, DType, TensorType, Type


@op("graph.dequantize")
class Dequantize(Elementwise):
    """(x - zero) * scale, with the element type of the scale."""

    x: Value
    scale: Value
    zero: Value | None = None

    def infer(self) -> Sequence[Type]:
        kinds = [tensor(o) for o in self.operands]
        x, scale = kinds[:2]
        if not _is_small(x.dtype) or not scale.dtype.is_float or any(k.dtype != x.dtype for k in kinds[2:]):
            listed = ", ".join(str(k) for k in kinds)
            raise self.fail(f"operands are {listed}, expected integers, a float scale, zero points like the integers")
        return [self.broadcast([scale, x, *kinds[2:]])]

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        dtype = tensor(self.scale).dtype
        wide = accumulator(dtype)
        x, scale, *zero = (b.cast(v, wide) for v in xs)
        return b.cast(b.mul(b.sub(x, zero[0]) if zero else x, scale), dtype)

    def reference(self, *operands: Array) -> Array:
        scale = widened(operands[1])
        x, *zero = (o.astype(scale.dtype) for o in (operands[0], *operands[2:]))
        return np.asarray((x - zero[0] if zero else x) * scale).astype(operands[1].dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if tensor(self.scale).rank or (self.zero is not None and tensor(self.zero).rank):
            raise refuse(self, "a scale for each element, where ONNX has one for an axis")
        return w.node("DequantizeLinear", self.x, self.scale, self.zero)

    @classmethod
    def sample(cls, sampler: Sampler) -> Dequantize:
        x, scale, zero = broadcast_shapes(sampler, 3)
        dtype = _sampled(sampler)
        low = -20.0 if dtype == I8 else 0.0
        whole = sampler.tensor(TensorType(dtype, x), low, 20.0)
        factors = sampler.tensor(TensorType(F32, scale), 0.1)
        return cls(whole, factors, sampler.tensor(TensorType(dtype, zero), low, 20.0) if chance(sampler, 0.5) else None)


@op("graph.quantize")
class Quantize(Elementwise):
    """round(x / scale) + zero as `dtype`."""

    x: Value
    scale: Value
    zero: Value | None = None
    dtype: DType = U8

    def infer(self) -> Sequence[Type]:
        kinds = [tensor(o) for o in self.operands]
        x, scale = kinds[:2]
        fits = x.dtype == scale.dtype and x.dtype.is_float and _is_small(self.dtype)
        if not fits or any(k.dtype != self.dtype for k in kinds[2:]):
            listed = ", ".join(str(k) for k in kinds)
            raise self.fail(f"operands are {listed}, expected floats, a scale like them, zero points of {self.dtype}")
        return [self.broadcast([k.with_dtype(self.dtype) for k in kinds])]

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        wide = accumulator(tensor(self.scale).dtype)
        x, scale, *zero = (b.cast(v, wide) for v in xs)
        found = b.div(x, scale)
        found = found if self.dtype.is_narrow_float else b.round(found)
        found = b.add(found, zero[0]) if zero else found
        return b.cast(within(b, found, self.dtype) if self.dtype.kind == "narrow" else found, self.dtype)

    def reference(self, *operands: Array) -> Array:
        x, scale = (widened(o) for o in operands[:2])
        found = np.asarray(np.divide(x, scale))
        found = found if self.dtype.is_narrow_float else np.rint(found)
        found = found + operands[2].astype(x.dtype) if operands[2:] else found
        return cast_array(array_within(found, self.dtype) if self.dtype.kind == "narrow" else found, self.dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if tensor(self.scale).rank or (self.zero is not None and tensor(self.zero).rank):
            raise refuse(self, "a scale for each element, where ONNX has one for an axis")
        zero = w.constant(np.zeros((), self.dtype.numpy)) if self.zero is None else self.zero
        return w.node("QuantizeLinear", self.x, self.scale, zero)

    @classmethod
    def sample(cls, sampler: Sampler) -> Quantize:
        x, scale, zero = broadcast_shapes(sampler, 3)
        dtype = _sampled(sampler)
        whole = sampler.tensor(TensorType(F32, x), -99.0, 99.0)
        factors = sampler.tensor(TensorType(F32, scale), 0.1)
        point = sampler.tensor(TensorType(dtype, zero), 0.0, 20.0) if chance(sampler, 0.5) else None
        return cls(whole, factors, point, dtype)


def _is_small(dtype: DType) -> bool:
    return dtype.is_integer or dtype.kind == "narrow"


def _sampled(sampler: Sampler) -> DType:
    return (I8, U8, DTYPES["i4"], DTYPES["u2"], DTYPES["f8e4m3fn"])[pick(sampler, 0, 4)]


@op("graph.repeat")
class Repeat(Movement):
    """Each element of x `times` along `axis`, cut at `size`."""

    x: Value
    axis: int
    times: int
    size: Dim

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if not 0 <= self.axis < x.rank or self.times < 1:
            raise self.fail(f"axis is {self.axis} and times {self.times} for {x}, expected one of its axes, 1 or more")
        self.refuse_broken()
        return [x.with_dims((*x.dims[: self.axis], self.size, *x.dims[self.axis + 1 :]))]

    def checks(self) -> Sequence[DimCheck]:
        dim = tensor(self.x).dims[self.axis]
        return [DimCheck(dim * self.times - self.size, f"dim {self.axis} is {dim}, too few for {self.size} elements")]

    def source(self, index: Index) -> Index:
        return (*index[: self.axis], index[self.axis] // self.times, *index[self.axis + 1 :])

    def reference(self, *operands: Array) -> Array:
        return np.take(np.repeat(operands[0], self.times, self.axis), np.arange(self.size.value), self.axis)

    @classmethod
    def sample(cls, sampler: Sampler) -> Repeat:
        dims = sampler.dims(pick(sampler, 1, 3))
        axis, times = pick(sampler, 0, len(dims) - 1), pick(sampler, 1, 3)
        whole = dims[axis] * times
        size = dim_max(whole - 1, 0) if chance(sampler, 0.5) else whole
        return cls(sampler.tensor(TensorType(F32, dims)), axis, times, size)


@onnx_import("DequantizeLinear", since=10)
def _dequantize(node: OnnxNode) -> Sequence[Value]:
    scale, zero = _parameters(node)
    wanted = int(node.attribute("output_dtype", 0))
    if wanted:
        scale = as_dtype(node, scale, onnx_dtype(node, wanted))
    return [node.add(Dequantize(node.operand(0), scale, zero))]


@onnx_import("QuantizeLinear", since=10)
def _quantize(node: OnnxNode) -> Sequence[Value]:
    wanted = int(node.attribute("output_dtype", 0))
    given = node.tensor(2).dtype if node.input(2) is not None else onnx_dtype(node, wanted) if wanted else U8
    scale, zero = _parameters(node)
    precision = int(node.attribute("precision", 0))
    scale = as_dtype(node, scale, onnx_dtype(node, precision)) if precision else scale
    x = as_dtype(node, node.operand(0), tensor(scale).dtype)
    if given.is_narrow_float and zero is None and not node.attribute("saturate", 1):
        return [node.add(Cast(node.add(Div(x, scale)), given, saturate=False))]
    return [node.add(Quantize(x, scale, zero, given))]


def _parameters(node: OnnxNode) -> tuple[Value, Value | None]:
    """Scale and zero point in dims that broadcast against the operand; no zero point where it is 0."""
    point = node.constant(2)
    zero = None if node.input(2) is None or (point is not None and not point.any()) else _placed(node, 2)
    return _placed(node, 1), zero


def _placed(node: OnnxNode, number: int) -> Value:
    value, kind, whole = node.operand(number), node.tensor(number), node.tensor(0)
    block = int(node.attribute("block_size", 0))
    if block:
        axis = node.axis(node.attribute("axis", 1), whole.rank)
        if kind.rank != whole.rank or block < 0:
            raise node.fail(f"input {number} is {kind} for blocks of {block} in {whole}, expected rank {whole.rank}")
        return node.add(Repeat(value, axis, block, whole.dims[axis]))
    if kind.rank == 0 or kind.dims == (ONE,):
        return reshaped(node, value, ())
    if kind.rank == 1 and whole.rank == 1 and "axis" not in node.attribute_names:
        return reshaped(node, value, ())  # there is no axis 1
    axis = node.axis(node.attribute("axis", 1), whole.rank)
    if kind.rank != 1:
        raise node.fail(f"input {number} is {kind}, expected rank 0 or 1")
    return reshaped(node, value, (*kind.dims, *(ONE,) * (whole.rank - axis - 1)))
