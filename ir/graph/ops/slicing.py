"""ONNX Slice: graph.slice where the bounds are known while compiling, else graph.gather along each dim."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim, ceildiv, dim_max, dim_min
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import MOST, first_numbers, formulas
from headrace.ir.graph.data_axes import by_dim, integers
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.slice import NO_LIMIT, NO_LIMIT_BELOW, Slice, constants


@onnx_import("Slice", since=1)
def _slice_1(node: OnnxNode) -> Sequence[Value]:
    starts, ends = (node.attribute(name, ()) for name in ("starts", "ends"))
    axes = node.attribute("axes", tuple(range(len(starts))))
    return [_sliced(node, constants(starts), constants(ends), axes, (1,) * len(starts))]


@onnx_import("Slice", since=10)
def _slice_10(node: OnnxNode) -> Sequence[Value]:
    starts, ends = node.shape_value(1), node.shape_value(2)
    axes, steps = node.known_numbers(3), node.known_numbers(4)
    if starts is None or ends is None or axes is None or steps is None or not _are_decided(node, starts, ends):
        return [_at_data(node, axes)]
    axes = axes if node.input(3) else tuple(range(len(starts)))
    return [_sliced(node, starts, ends, axes, steps if node.input(4) else (1,) * len(starts))]


def _are_decided(node: OnnxNode, *bounds: Sequence[Dim]) -> bool:
    """Whether each bound is known to count from the front, or from the back: the two cases are different elements."""
    return all(node.is_nonnegative(d) or node.is_nonnegative(-d - 1) for several in bounds for d in several)


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
    """A start or end inside [lowest, highest]; negative ones count from the back."""
    if place.is_constant and place.value < 0:
        return dim_max(lowest, dim + place) if place.value > NO_LIMIT_BELOW else lowest
    if node.is_nonnegative(place):
        return highest if place.is_constant and place.value >= NO_LIMIT else dim_min(place, highest)
    return dim_max(lowest, dim + place)


# ---- bounds that are data ----------------------------------------------------------------------------------------


def _at_data(node: OnnxNode, axes: Sequence[int] | None) -> Value:
    """A gather along each dim that may be cut."""
    x, kind, count = Term(node, node.operand(0)), node.tensor(0), node.tensor(1).elements
    if axes is None or not count.is_constant:
        cut: Sequence[int] = range(kind.rank)
    else:
        cut = [node.axis(a, kind.rank) for a in axes] if node.input(3) else range(count.value)
    start, size, step = _parts(node)
    for axis in cut:
        first, many, by = (v.of(Slice(v.value, (Dim.constant(axis),), (ONE,), (1,))) for v in (start, size, step))
        numbers = first_numbers(node, many, f"{node.name}_{axis}", [(by.compare("eq", 0), "a step is 0")])
        x = x.of(Gather(x.value, (numbers * by + first).value, axis))
    return x.value


def _parts(node: OnnxNode) -> tuple[Term, Term, Term]:
    """Start, size and step of each dim, i64[rank] each."""
    dims, rank = formulas(node, node.tensor(0).dims), node.tensor(0).rank
    axes = integers(node, 3) if node.input(3) else dims.indices(node.tensor(1).elements)
    of_dims = by_dim(node, axes, rank)
    start, end = (_from_front(of_dims(integers(node, i), bound), dims) for i, bound in ((1, dims * 0), (2, dims)))
    step = of_dims(integers(node, 4), dims * 0 + 1) if node.input(4) else dims * 0 + 1
    up, last = step.compare("gt", 0), dims - 1
    start = start.at_least(0).at_most(up.where(dims, last))
    end = up.where(end.at_least(0).at_most(dims), end.at_least(-1).at_most(last))
    span, by = up.where(end - start, start - end), abs(step.at_least(-MOST))  # whose magnitude is a number too
    return start, span.compare("gt", 0).where((span - 1) / by + 1, span * 0), step


def _from_front(place: Term, dims: Term) -> Term:
    return place.compare("lt", 0).where(place + dims, place)
