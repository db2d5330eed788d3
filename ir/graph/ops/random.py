"""graph.random: numbers that look random, evenly spread from 0 on below 1.

    %u = graph.random {dims = [n, 64], seed = 7, dtype = f32} : f32[n, 64]

Element i is made of i and the seed alone, by multiplications and shifts of 32-bit integers (the mixing function
`lowbias32`), so that the same artefact gives the same numbers at every run, with any number of threads, on any CPU.
ONNX RandomUniform, RandomNormal, both for the dims of an operand, and Dropout that trains, are made of it.  A node
without a seed has one made of its name.  Normal numbers are those of Box and Muller: sqrt(-2 log u) cos(2 pi v).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.families import Array, Index, Pull, PullBuilder, Sampler, accumulator
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import linear
from headrace.ir.graph.ops.cast import onnx_dtype
from headrace.ir.graph.ops.exponential import Log
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.logic import Not, Or
from headrace.ir.graph.ops.trigonometry import Cos
from headrace.ir.graph.sampling import pick
from headrace.ir.types import BOOL, F32, I64, U32, DType, TensorType, Type

STEPS = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1))  # x ^= x >> shift, then x *= factor


@op("graph.random")
class Random(Pull):
    """Multiples of 2^-24 from 0 on below 1."""

    dims: tuple[Dim, ...]
    seed: int
    dtype: DType = F32

    def infer(self) -> Sequence[Type]:
        if not self.dtype.is_float or self.dtype.bits < 32:
            raise self.wrong_dtype(self.dtype, ("f32", "f64"))
        return [TensorType(self.dtype, self.dims)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        place = b.cast(b.index(linear(index, self.dims), I64), U32)
        x = b.bit_xor(place, b.constant(_mixed_seed(self.seed), place))
        for shift, factor in STEPS:
            x = b.bit_xor(x, b.shr(x, b.constant(shift, x)))
            x = b.mul(x, b.constant(factor, x))
        found = b.cast(b.shr(x, b.constant(8, x)), self.dtype)
        return b.mul(found, b.constant(2.0**-24, found))

    def reference(self, *operands: Array) -> Array:
        shape = [d.value for d in self.dims]
        x = np.arange(math.prod(shape), dtype=np.uint64).astype(np.uint32) ^ np.uint32(_mixed_seed(self.seed))
        for shift, factor in STEPS:
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        found = (x >> np.uint32(8)).astype(self.dtype.numpy) * self.dtype.numpy.type(2.0**-24)
        return np.asarray(found).reshape(shape)

    @classmethod
    def sample(cls, sampler: Sampler) -> Random:
        return cls(sampler.dims(pick(sampler, 0, 3)), pick(sampler, 0, 99))


def _mixed_seed(seed: int) -> int:
    """Neighbouring seeds far apart: else their numbers would be the same ones in another order."""
    return zlib.crc32(seed.to_bytes(8, "little", signed=True))


def uniform(node: OnnxNode, dims: tuple[Dim, ...], stream: int = 0) -> Term:
    """f32 from 0 on below 1; each stream of a node has numbers of its own."""
    given = node.attribute("seed", float(zlib.crc32(node.name.encode())))
    seed = zlib.crc32(np.array([given, stream], "<f8").tobytes())
    return Term(node, node.add(Random(dims, seed)))


@onnx_import("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike")
def _random(node: OnnxNode) -> Sequence[Value]:
    like = node.op_type.endswith("Like")
    shape: tuple[int, ...] = node.attribute("shape", ())
    dims = node.tensor(0).dims if like else tuple(Dim.constant(d) for d in shape)
    wanted = int(node.attribute("dtype", 0))
    dtype = onnx_dtype(node, wanted) if wanted else node.tensor(0).dtype if like else F32
    if not dtype.is_float:
        raise node.fail(f"element type is {dtype}, expected float")
    u = uniform(node, dims)
    if "Uniform" in node.op_type:
        low, high = float(node.attribute("low", 0.0)), float(node.attribute("high", 1.0))
        return [(u * (high - low) + low).cast(dtype).value]
    mean, scale = float(node.attribute("mean", 0.0)), float(node.attribute("scale", 1.0))
    radius = (u.of(Log((1.0 - u).value)) * -2.0).sqrt()  # 1 - u is never 0
    angle = uniform(node, dims, 1) * (2 * math.pi)
    return [(radius * angle.of(Cos(angle.value)) * scale + mean).cast(dtype).value]


@onnx_import("Dropout", since=7)
def _dropout(node: OnnxNode) -> Sequence[Value]:
    """The operand; in training, elements are left out at random, and the others grow to make up for it."""
    x, training = Term(node, node.operand(0)), node.constant(2)
    if node.input(2) is None or (training is not None and not training.any()):
        return [x.value, node.add(Fill(x.dims, True, BOOL))] if node.wants(1) else [x.value]
    on = Term(node, node.operand(2)).reshape()
    ratio = x.of(Fill((), 0.5, F32)) if node.input(1) is None else Term(node, node.operand(1)).cast(F32).reshape()
    kept = x.of(Or(ratio.compare("le", uniform(node, x.dims)).value, node.add(Not(on.value))))
    # With a ratio of 1 nothing is kept, and what it is scaled by does not matter.
    scale = on.where(ratio.like(1.0) / (1.0 - ratio), ratio.like(1.0)).cast(accumulator(x.dtype))
    wide = x.cast(scale.dtype)
    return [kept.where(wide * scale, wide.like(0.0)).cast(x.dtype).value, kept.value]
