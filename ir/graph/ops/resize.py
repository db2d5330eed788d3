"""graph.resize: the nearest element of another grid: images made larger or smaller.

    %y = graph.resize %x {sizes = [n, 64, h*2, w*2], slopes = [1, 1, 1, 1], offsets = [0, 0, 0, 0],
        divisors = [1, 1, 2, 2]} : f32[n, 64, h*2, w*2]

Element i of a dim is element (i * slope + offset) floordiv divisor of the operand, or the first or last one where
that lies outside.  So a dim that is doubled is read at i floordiv 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, DimCheck, GraphOp, Index, Movement, Sampler, tensor, unproven
from headrace.ir.graph.grids import Line, Scale, line
from headrace.ir.graph.sampling import pick
from headrace.ir.types import F32, TensorType, Type

Sizes = tuple[Dim, ...]


class OnGrid(GraphOp):
    """Base: x on a grid of `sizes`."""

    x: Value
    sizes: Sizes
    slopes: Sizes
    offsets: Sizes
    divisors: Sizes

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if {len(self.sizes), len(self.slopes), len(self.offsets), len(self.divisors)} != {kind.rank}:
            raise self.fail(f"sizes, slopes, offsets and divisors for {kind} must have {kind.rank} elements each")
        self.refuse_broken()
        return [kind.with_dims(self.sizes)]

    @property
    def lines(self) -> list[Line]:
        """Where the elements of each dim lie."""
        return [Line(*parts) for parts in zip(self.sizes, self.slopes, self.offsets, self.divisors, strict=True)]

    def checks(self) -> Sequence[DimCheck]:
        """That every dim with elements is made from one with elements, and that no divisor is 0."""
        x, found = tensor(self.x), []
        for number, (extent, places) in enumerate(zip(x.dims, self.lines, strict=True)):
            if not (places.is_plain and places.size == extent):
                found.append(DimCheck(places.divisor - 1, f"dim {number} has the divisor {places.divisor}"))
                found.append(DimCheck(places.size, f"dim {number} would be {places.size}, expected 0 or more"))
                found.append(DimCheck(extent - 1, f"dim {number} of {x} must not be 0 to be resized"))
        return unproven(found)

    def fold(self) -> Value | None:
        return self.x if self.sizes == tensor(self.x).dims and all(part.is_plain for part in self.lines) else None


@op("graph.resize")
class Resize(OnGrid, Movement):
    """x on a grid of `sizes`."""

    x: Value
    sizes: tuple[Dim, ...]
    slopes: tuple[Dim, ...]
    offsets: tuple[Dim, ...]
    divisors: tuple[Dim, ...]

    def source(self, index: Index) -> Index:
        parts = zip(self.lines, index, tensor(self.x).dims, strict=True)
        return tuple(places.inside(i, extent) for places, i, extent in parts)

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        for axis, places in enumerate(self.lines):
            at = np.arange(places.size.value) * places.slope.value + places.offset.value
            x = np.take(x, np.clip(at // places.divisor.value, 0, x.shape[axis] - 1), axis)
        return x

    @classmethod
    def sample(cls, sampler: Sampler) -> Resize:
        dims = sampler.dims(pick(sampler, 1, 3))
        lines = [sample_line(sampler, d) for d in dims]
        return cls(sampler.tensor(TensorType(F32, dims)), *fields_of(lines))


def fields_of(lines: Sequence[Line]) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    """Sizes, slopes, offsets and divisors."""
    names = ("size", "slope", "offset", "divisor")
    sizes, slopes, offsets, divisors = (tuple(getattr(part, name) for part in lines) for name in names)
    return sizes, slopes, offsets, divisors


def sample_line(sampler: Sampler, dim: Dim) -> Line:
    """A dim as it is, doubled, or stretched to a random size in one of ONNX's ways."""
    kind = pick(sampler, 0, 3)
    if kind == 0:
        return Line(dim)
    if kind == 1:
        return line("half_pixel", dim, dim * 2, Scale.between(dim, dim * 2), several=False).rounded("ceil")
    size = Dim.constant(pick(sampler, 1, 6))
    mode = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")[pick(sampler, 0, 3)]
    rounding = ("round_prefer_floor", "round_prefer_ceil", "floor")[pick(sampler, 0, 2)]
    return line(mode, dim, size, Scale.between(dim, size), several=False).rounded(rounding)
