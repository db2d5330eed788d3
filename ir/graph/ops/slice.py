"""graph.slice: every step-th element of each dim, from a start on.

    %y = graph.slice %x {starts = [0, 2], sizes = [n, 3], steps = [1, 2]} : f32[n, 3]

Element i of a dim is element start + i * step of the operand, which lies inside it.  A step may be negative.
ONNX Slice, Split, and Gather with indices that are known all become this operation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, dim_min
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter, numbers
from headrace.ir.graph.families import Array, DimCheck, Index, Known, Movement, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.sampling import pick
from headrace.ir.types import F32, TensorType, Type

# Exporters write "to the end" as the largest or smallest number of 32 or 64 bits.
NO_LIMIT = 2**31 - 1
NO_LIMIT_BELOW = -(2**31) + 1


@op("graph.slice")
class Slice(Movement):
    """x from `starts`, `sizes` elements of each dim, `steps` apart."""

    x: Value
    starts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    steps: tuple[int, ...]

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if {len(self.starts), len(self.sizes), len(self.steps)} != {kind.rank}:
            raise self.fail(f"starts, sizes and steps for {kind} must have {kind.rank} elements each")
        negative = [s for s in self.sizes if s.is_constant and s.value < 0]
        if negative:
            raise self.fail(f"a size is {negative[0]}, expected 0 or more")
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)
        return [kind.with_dims(self.sizes)]

    def checks(self) -> Sequence[DimCheck]:
        found = []
        for i, (start, size, step, dim) in enumerate(
            zip(self.starts, self.sizes, self.steps, tensor(self.x).dims, strict=True)
        ):
            if (start, size, step) == (ZERO, dim, 1) or size == ZERO:
                continue
            last = start + (size - 1) * step
            message = f"dim {i} of {self.x.type} has no elements {start} to {last}"
            # An empty slice may start anywhere: multiplied by its size, what is wrong about it counts for nothing.
            bounds = [start, dim - 1 - start, last, dim - 1 - last]
            found += [DimCheck(b if size.is_constant else b * dim_min(size, 1), message) for b in bounds]
        return tuple(c for c in dict.fromkeys(found) if not (c.formula.is_constant and c.formula.value >= 0))

    def fold(self) -> Value | None:
        plain = all(s == ZERO for s in self.starts) and all(s == 1 for s in self.steps)
        return self.x if plain and self.sizes == tensor(self.x).dims else None

    def source(self, index: Index) -> Index:
        return tuple(start + i * step for i, start, step in zip(index, self.starts, self.steps, strict=True))

    def shape_values(self, known: Known) -> Known | None:
        if not all(d.is_constant for d in (*self.starts, *self.sizes)):
            return None
        return shape_values.by_function(self, known, self.reference)

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        for axis, (start, size, step) in enumerate(zip(self.starts, self.sizes, self.steps, strict=True)):
            x = np.take(x, start.value + np.arange(size.value) * step, axis)
        return x

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        # Counted downwards, the element before the first is -1, which in ONNX is the last.
        ends = [s + n * t for s, n, t in zip(self.starts, self.sizes, self.steps, strict=True)]
        for axis, step in enumerate(self.steps):
            if step < 0 and numbers(self, [ends[axis]])[0] < 0:
                ends[axis] = Dim.constant(NO_LIMIT_BELOW)
        steps = w.constant(np.array(self.steps, np.int64))
        axes = w.constant(np.arange(len(ends)))
        return w.node("Slice", self.x, w.integers(self.starts), w.integers(ends), axes, steps)

    @classmethod
    def sample(cls, sampler: Sampler) -> Slice:
        dims = sampler.dims(pick(sampler, 1, 3))
        parts = [_sample_part(sampler, d) for d in dims]
        return cls(sampler.tensor(TensorType(F32, dims)), *(tuple(p) for p in zip(*parts, strict=True)))


def _sample_part(sampler: Sampler, dim: Dim) -> tuple[Dim, Dim, int]:
    if not dim.is_constant or dim.value == 0:
        return (ZERO, dim, 1) if pick(sampler, 0, 1) else (dim - 1, dim, -1)
    first, last = (pick(sampler, 0, dim.value - 1) for _ in range(2))
    step = pick(sampler, 1, 3)
    return Dim.constant(first), Dim.constant(abs(last - first) // step + 1), step if last >= first else -step


def sliced(node: OnnxNode, x: Value, axis: int, start: Dim, size: Dim, step: int = 1) -> Value:
    """One dim of `x` cut, the others whole."""
    dims = tensor(x).dims
    starts = tuple(start if i == axis else ZERO for i in range(len(dims)))
    sizes = tuple(size if i == axis else d for i, d in enumerate(dims))
    return node.add(Slice(x, starts, sizes, tuple(step if i == axis else 1 for i in range(len(dims)))))


def constants(numbers: Sequence[int]) -> tuple[Dim, ...]:
    return tuple(Dim.constant(n) for n in numbers)
