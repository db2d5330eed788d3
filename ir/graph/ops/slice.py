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
from headrace.ir.dims import Dim, ceildiv, dim_max, dim_min
from headrace.ir.graph import shape_values
from headrace.ir.graph.families import Array, DimCheck, Index, Known, Movement, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
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


@onnx_import("Slice", since=1)
def _slice_1(node: OnnxNode) -> Sequence[Value]:
    starts, ends = (node.attribute(name, ()) for name in ("starts", "ends"))
    axes = node.attribute("axes", tuple(range(len(starts))))
    return [_sliced(node, constants(starts), constants(ends), axes, (1,) * len(starts))]


@onnx_import("Slice", since=10)
def _slice_10(node: OnnxNode) -> Sequence[Value]:
    starts, ends = (_known(node, i, what) for i, what in ((1, "starts"), (2, "ends")))
    given = node.axes(3)
    axes = tuple(range(len(starts))) if given is None else given
    steps = tuple(d.value for d in _known(node, 4, "steps")) if node.input(4) else (1,) * len(starts)
    return [_sliced(node, starts, ends, axes, steps)]


def constants(numbers: Sequence[int]) -> tuple[Dim, ...]:
    return tuple(Dim.constant(n) for n in numbers)


def _known(node: OnnxNode, number: int, what: str) -> tuple[Dim, ...]:
    found = node.shape_value(number)
    if found is None or (what == "steps" and not all(d.is_constant for d in found)):
        raise node.unsupported(f"{what} are data, expected integers that are known while compiling")
    return found


def _sliced(
    node: OnnxNode, starts: Sequence[Dim], ends: Sequence[Dim], axes: Sequence[int], steps: Sequence[int]
) -> Value:
    x, kind = node.operand(0), node.tensor(0)
    if len({len(starts), len(ends), len(axes), len(steps)}) != 1:
        raise node.fail(f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps")
    places = [node.axis(a, kind.rank) for a in axes]
    if len(set(places)) < len(places):
        raise node.fail(f"axes {list(axes)} name a dim twice")
    if 0 in steps:
        raise node.fail("a step is 0, expected another number")
    begins, sizes, strides = [ZERO] * kind.rank, list(kind.dims), [1] * kind.rank
    for axis, start, end, step in zip(places, starts, ends, steps, strict=True):
        first, size = _bounds(node, start, end, step, kind.dims[axis])
        begins[axis], sizes[axis] = node.simplify(first), node.simplify(size)
        strides[axis] = step
    if sizes == list(kind.dims) and all(s == 1 for s in strides):
        return x
    return node.add(Slice(x, tuple(begins), tuple(sizes), tuple(strides)))


def _bounds(node: OnnxNode, start: Dim, end: Dim, step: int, dim: Dim) -> tuple[Dim, Dim]:
    """The first element and how many there are: both ends counted from the back if negative, then clamped."""
    if step > 0:
        first = _clamped(node, start, dim, ZERO, dim)
        size = dim_max(ceildiv(_clamped(node, end, dim, ZERO, dim) - first, step), 0)
        return (ZERO if size == ZERO else first), size
    first = _clamped(node, start, dim, ZERO, dim - 1)
    last = _clamped(node, end, dim, Dim.constant(-1), dim - 1)
    return first, dim_max(ceildiv(first - last, -step), 0)


def _clamped(node: OnnxNode, place: Dim, dim: Dim, lowest: Dim, highest: Dim) -> Dim:
    """A start or end inside [lowest, highest]; negative ones count from the back.

    A formula that may be negative or not is refused: the two cases are different elements.
    """
    if place.is_constant and place.value < 0:
        return dim_max(lowest, dim + place) if place.value > NO_LIMIT_BELOW else lowest
    if node.is_nonnegative(place):
        return highest if place.is_constant and place.value >= NO_LIMIT else dim_min(place, highest)
    if node.is_nonnegative(-place - 1):
        return dim_max(lowest, dim + place)
    raise node.unsupported(f"the bound {place} may be negative or not")
