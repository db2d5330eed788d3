"""graph.matmul: numpy's matrix product, with broadcast batch dims.

    %y = graph.matmul %a, %b : f32[batch, 128, 768]

The last two dims of each operand are matrices; an operand of rank 1 is a row (left) or a column (right) whose
added dim is dropped again.  Sums run over the shared dim; their order is free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import (
    Array,
    DimCheck,
    Index,
    PullBuilder,
    Reducing,
    Sampler,
    accumulator,
    broadcast_checks,
    broadcast_dims,
    broadcast_index,
    must_be_equal,
    tensor,
)
from headrace.ir.graph.references import widened
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, TensorType, Type


@op("graph.matmul", onnx="MatMul")
class MatMul(Reducing):
    """a @ b."""

    a: Value
    b: Value

    def _shared(self) -> tuple[Dim, Dim]:
        """The dim that is summed over, as either operand has it."""
        a, b = tensor(self.a), tensor(self.b)
        return a.dims[-1], b.dims[-2] if b.rank > 1 else b.dims[0]

    def infer(self) -> Sequence[Type]:
        a, b = tensor(self.a), tensor(self.b)
        if a.dtype.kind == "bool":
            raise self.wrong_dtype(a.dtype, ("float", "int", "uint"))
        if a.dtype != b.dtype or 0 in (a.rank, b.rank):
            raise self.fail(f"operands are {a} and {b}, expected tensors of one element type and rank 1 or more")
        shared = self._shared()
        if all(d.is_constant for d in shared) and shared[0] != shared[1]:
            raise self.fail(f"the shared dim is {shared[0]} in {a} and {shared[1]} in {b}")
        try:
            batch = broadcast_dims([a.dims[:-2], b.dims[:-2]])
        except ValueError as error:
            raise self.fail(f"batch dims of {a} and {b} do not broadcast: {error}") from None
        rows = a.dims[-2:-1] if a.rank > 1 else ()
        columns = b.dims[-1:] if b.rank > 1 else ()
        return [TensorType(a.dtype, (*batch, *rows, *columns))]

    def checks(self) -> Sequence[DimCheck]:
        a, b = tensor(self.a), tensor(self.b)
        batch = broadcast_checks([a.dims[:-2], b.dims[:-2]], broadcast_dims([a.dims[:-2], b.dims[:-2]]))
        return [*must_be_equal(*self._shared(), f"the shared dim differs in {a} and {b}"), *batch]

    def reduction_axes(self) -> tuple[tuple[str, Dim], ...]:
        return (("k", tensor(self.a).dims[-1]),)

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        return [b.constant(0, accumulator(tensor(self.a).dtype))]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        left, right = tensor(self.a), tensor(self.b)
        rows, columns = min(left.rank - 1, 1), min(right.rank - 1, 1)
        batch = index[: len(index) - rows - columns]
        whole = tensor(self.result).dims[: len(batch)]
        row = index[len(batch) : len(batch) + rows]
        column = index[len(index) - columns :] if columns else ()
        at_left = (*broadcast_index(batch, left.dims[:-2], whole), *row, *reduced)
        at_right = (*broadcast_index(batch, right.dims[:-2], whole), *reduced, *column)
        wide = accumulator(left.dtype)
        return [b.muladd(b.cast(b.read(self.a, at_left), wide), b.cast(b.read(self.b, at_right), wide), state[0])]

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        return [b.add(left[0], right[0])]

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        return b.cast(state[0], tensor(self.a).dtype)

    def reference(self, *operands: Array) -> Array:
        return np.asarray(np.matmul(*(widened(o) for o in operands))).astype(operands[0].dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> MatMul:
        m, k, n, batch = (sampler.dims(1)[0] for _ in range(4))
        return cls(sampler.tensor(TensorType(F32, (batch, m, k))), sampler.tensor(TensorType(F32, (k, n))))
