"""graph.expand, graph.expand_dynamic: an operand broadcast against a shape.

    %y = graph.expand %x {dims = [n, 64]} : f32[n, 64]
    %z = graph.expand_dynamic %x, %shape {symbols = ["t0", "t1"]} : f32[max(n, t0), 64]

Both ways, as in ONNX: a dim of 1 in the shape leaves the operand's.  In the second form symbol t_i is the
integer at element i of %shape, at least 0; the program reads it, and checks that it, or the dim of %x that it
meets, is 1, or that both are equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, as_dim
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import (
    Array,
    DataDims,
    DimCheck,
    DimRead,
    Index,
    Known,
    Movement,
    Sampler,
    broadcast_checks,
    broadcast_dims,
    broadcast_index,
    tensor,
)
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.sampling import broadcast_shapes
from headrace.ir.types import F32, I64, TensorType, Type


@op("graph.expand")
class Expand(Movement):
    """x broadcast against `dims`."""

    x: Value
    dims: tuple[Dim, ...]

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        negative = [d for d in self.dims if d.is_constant and d.value < 0]
        if negative:
            raise self.fail(f"a dim is {negative[0]}, expected 0 or more")
        try:
            return [kind.with_dims(broadcast_dims([kind.dims, self.dims]))]
        except ValueError as error:
            raise self.fail(f"{kind} does not expand to {[str(d) for d in self.dims]}: {error}") from None

    def fold(self) -> Value | None:
        return self.x if self.result.type == self.x.type else None

    def checks(self) -> Sequence[DimCheck]:
        return broadcast_checks([tensor(self.x).dims, self.dims], tensor(self.result).dims)

    def source(self, index: Index) -> Index:
        return broadcast_index(index, tensor(self.x).dims, tensor(self.result).dims)

    def shape_values(self, known: Known) -> Known | None:
        dims = [d.value for d in self.dims if d.is_constant]
        return shape_values.by_function(self, known, lambda x: x + np.zeros(dims, int))

    def reference(self, *operands: Array) -> Array:
        return _expanded(operands[0], [d.value for d in self.dims])

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Expand", self.x, w.integers(self.dims))

    @classmethod
    def sample(cls, sampler: Sampler) -> Expand:
        source, target = broadcast_shapes(sampler, 2)
        return cls(sampler.tensor(TensorType(F32, source)), target)


@op("graph.expand_dynamic")
class ExpandDynamic(DataDims, Movement):
    """x broadcast against the dims that `shape` holds."""

    x: Value
    shape: Value
    symbols: tuple[str, ...]

    def infer(self) -> Sequence[Type]:
        kind, shape = tensor(self.x), tensor(self.shape)
        if shape != TensorType.of(I64, len(self.symbols)):
            raise self.fail(f"the shape is {shape}, expected i64[{len(self.symbols)}]")
        return [kind.with_dims(broadcast_dims([kind.dims, self._given]))]

    @property
    def _given(self) -> tuple[Dim, ...]:
        return tuple(as_dim(s) for s in self.symbols)

    def dim_reads(self) -> Sequence[DimRead]:
        return [DimRead(symbol, self.shape, i, 0) for i, symbol in enumerate(self.symbols)]

    def checks(self) -> Sequence[DimCheck]:
        return broadcast_checks([tensor(self.x).dims, self._given], tensor(self.result).dims)

    def source(self, index: Index) -> Index:
        return broadcast_index(index, tensor(self.x).dims, tensor(self.result).dims)

    def reference(self, *operands: Array) -> Array:
        return _expanded(operands[0], operands[1].tolist())

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Expand", self.x, self.shape)

    @classmethod
    def sample(cls, sampler: Sampler) -> ExpandDynamic:
        a, b = (int(n) for n in sampler.rng.integers(1, 4, 2))
        shape = [[a, b], [2, a, b], [1], []][int(sampler.rng.integers(0, 4))]
        x = sampler.tensor(TensorType.of(F32, *[[a, b], [1, b], [b]][int(sampler.rng.integers(0, 3))]))
        names = tuple(sampler.symbol() for _ in shape)
        return cls(x, sampler.constant(np.array(shape, np.int64)), names)


def _expanded(x: Array, dims: list[int]) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(dims)))


@onnx_import("Expand", since=8)
def _expand(node: OnnxNode) -> Sequence[Value]:
    x, dims = node.operand(0), node.shape_value(1)
    if dims is not None:
        return [node.add(Expand(x, dims))]
    shape = node.tensor(1)
    if shape.rank != 1 or not shape.is_static:
        raise node.unsupported(f"the shape is {shape}, so the rank of the result is data")
    symbols = tuple(node.symbol(f"{node.name}_{i}") for i in range(shape.dims[0].value))
    return [node.add(ExpandDynamic(x, node.operand(1), symbols))]
