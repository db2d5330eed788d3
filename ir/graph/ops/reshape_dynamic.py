"""graph.reshape_dynamic: the same elements, row-major, under dims that are data.

    %y = graph.reshape_dynamic %x, %shape {symbols = ["t0", "t1"], allow_zero = false}

Symbol t_i is the integer at element i of %shape, at least -1.  As in ONNX Reshape, with N elements in %x:

    copied_i  = dim i of %x where t_i is 0, unless allow_zero; else max(t_i, 0)
    dim i     = copied_i, or N floordiv (product of the other copied ones) where t_i is -1

Formulas say both without cases: max(-t, 0) is 1 for -1 and 0 for others, 1 - min(t*t, 1) is 1 for 0 and 0 for
others.  Lowering reads the t_i, then checks that at most one is -1 and that the dims multiply to N.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, as_dim, dim_max, dim_min
from headrace.ir.graph.families import (
    Array,
    DataDims,
    DimCheck,
    DimRead,
    Index,
    Sampler,
    must_be_equal,
    tensor,
)
from headrace.ir.graph.linear import ONE, ZERO, reshaped_index
from headrace.ir.types import F32, I64, TensorType, Type


@op("graph.reshape_dynamic")
class ReshapeDynamic(DataDims):
    """x under the dims that `shape` holds."""

    x: Value
    shape: Value
    symbols: tuple[str, ...]
    allow_zero: bool = False
    is_view = True

    def infer(self) -> Sequence[Type]:
        kind, shape = tensor(self.x), tensor(self.shape)
        if shape.dtype != I64 or shape != TensorType.of(I64, len(self.symbols)):
            raise self.fail(f"the shape is {shape}, expected i64[{len(self.symbols)}]")
        given = [as_dim(s) for s in self.symbols]
        return [kind.with_dims(tuple(self._dim(i, given) for i in range(len(given))))]

    def _dim(self, place: int, given: list[Dim]) -> Dim:
        rest = prod((self._copied(i, t) + _is_rest(t) for i, t in enumerate(given) if i != place), start=ONE)
        left = tensor(self.x).elements // dim_max(rest, 1)
        return self._copied(place, given[place]) + _is_rest(given[place]) * left

    def _copied(self, place: int, t: Dim) -> Dim:
        kind = tensor(self.x)
        copied = ZERO if self.allow_zero or place >= kind.rank else (1 - dim_min(t * t, 1)) * kind.dims[place]
        return dim_max(t, 0) + copied

    def dim_reads(self) -> Sequence[DimRead]:
        return [DimRead(symbol, self.shape, i, -1) for i, symbol in enumerate(self.symbols)]

    def checks(self) -> Sequence[DimCheck]:
        kind, result = tensor(self.x), tensor(self.result)
        rests = sum((_is_rest(as_dim(s)) for s in self.symbols), start=ZERO)
        return (
            DimCheck(1 - rests, "the shape has more than one -1"),
            *must_be_equal(kind.elements, result.elements, f"the shape does not have the elements of {kind}"),
        )

    def source(self, index: Index) -> Index:
        return reshaped_index(index, tensor(self.result).dims, tensor(self.x).dims)

    def reference(self, *operands: Array) -> Array:
        x, shape = operands
        zero_copies = [x.shape[i] if t == 0 and not self.allow_zero else int(t) for i, t in enumerate(shape)]
        return x.reshape(zero_copies)

    @classmethod
    def sample(cls, sampler: Sampler) -> ReshapeDynamic:
        a, b, c = (int(n) for n in sampler.rng.integers(1, 4, 3))
        x = sampler.tensor(TensorType.of(F32, a, b, c))
        shape = [[a * b, c], [-1, b, c], [0, b * c], [a, -1]][int(sampler.rng.integers(0, 4))]
        names = tuple(sampler.symbol() for _ in shape)
        return cls(x, sampler.constant(np.array(shape, np.int64)), names)


def _is_rest(t: Dim) -> Dim:
    """1 where t is -1, 0 where it is more."""
    return dim_max(-t, 0)
