"""graph.reshape_dynamic: the same elements, row-major, under dims that are data.

    %y = graph.reshape_dynamic %x, %shape {symbols = ["d0", "d1"]} : f32[d0, d1]

Symbol d_i is the integer at element i of %shape, at least 0; it is dim i.  Lowering reads the symbols, then
checks that their product is the element count of %x.

ONNX Reshape may have a 0 or -1 in its shape.  Where that is data, the frontend resolves it by operations before
this one: with N elements in %x and dims x_i (0 from its rank on),

    s_i = x_i where t_i is 0, unless allowzero; else t_i
    d_i = N / (product of the s_j that are not -1) where s_i is -1; else s_i
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import (
    Array,
    DataDims,
    DimCheck,
    DimRead,
    Index,
    Movement,
    Sampler,
    must_be_equal,
    tensor,
)
from headrace.ir.graph.linear import reshaped_index
from headrace.ir.types import F32, I64, TensorType, Type


@op("graph.reshape_dynamic")
class ReshapeDynamic(DataDims, Movement):
    """x under the dims that `shape` holds."""

    x: Value
    shape: Value
    symbols: tuple[str, ...]
    is_view = True

    def infer(self) -> Sequence[Type]:
        if tensor(self.shape) != TensorType.of(I64, len(self.symbols)):
            raise self.fail(f"the shape is {self.shape.type}, expected i64[{len(self.symbols)}]")
        return [tensor(self.x).with_dims(tuple(Dim.symbol(s) for s in self.symbols))]

    def dim_reads(self) -> Sequence[DimRead]:
        return [DimRead(symbol, self.shape, i, 0) for i, symbol in enumerate(self.symbols)]

    def checks(self) -> Sequence[DimCheck]:
        kind, result = tensor(self.x), tensor(self.result)
        return must_be_equal(kind.elements, result.elements, f"the shape does not have the elements of {kind}")

    def source(self, index: Index) -> Index:
        return reshaped_index(index, tensor(self.result).dims, tensor(self.x).dims)

    def reference(self, *operands: Array) -> Array:
        x, shape = operands
        return x.reshape(shape.tolist())

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Reshape", self.x, self.shape, allowzero=1)

    @classmethod
    def sample(cls, sampler: Sampler) -> ReshapeDynamic:
        a, b, c = (int(n) for n in sampler.rng.integers(1, 4, 3))
        x = sampler.tensor(TensorType.of(F32, a, b, c))
        shape = [[a * b, c], [a, b * c], [a * b * c], [b, 1, a, c]][int(sampler.rng.integers(0, 4))]
        names = tuple(sampler.symbol() for _ in shape)
        return cls(x, sampler.constant(np.array(shape, np.int64)), names)
