"""ONNX GridSample, RoiAlign: a tensor read between its elements, at places that are data.

Both compute, for each place, the elements around it and a weight for each, gather these, and add up: graph.gather_nd on
the tensor with its channels last.  `sampled` does that for places given as one term a spatial dim, in elements.

    nearest     the element at the rounded place
    linear      the 2 elements around it in each dim
    cubic       the 4 elements around it in each dim, weighted by Keys' polynomial with a = -0.75
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from operator import add

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.gather import Gather, GatherND
from headrace.ir.graph.ops.rounding import Round
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.types import F32, I64

Inside = Callable[[Term, int], tuple[Term, Term | None]]  # a place along a dim -> a legal one, whether it counts
MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}
CUBIC = -0.75


def sampled(
    x: Term, places: Sequence[Term], mode: str, inside: Inside, join: Callable[[Term, Term], Term] = add
) -> Term:
    """x [n, c, spatial...] at places [n, points...], one term a spatial dim: [n, points..., c].

    `join` makes one of the weighted elements around a place.
    """
    last = x.move(1, -1)
    total: Term | None = None
    for corner in product(*(_around(p, mode) for p in places)):
        indices, weight = [], None
        for dim, (place, factor) in enumerate(corner):
            legal, counts = inside(place, dim)
            if counts is not None:
                one = counts.cast(x.dtype)
                factor = one if factor is None else factor.cast(x.dtype) * one
            weight = factor if weight is None else weight if factor is None else weight * factor
            indices.append(legal.cast(I64))
        stacked = [i.reshape(*i.dims, 1).value for i in indices]
        index = stacked[0] if len(stacked) == 1 else x.node.add(Concat(tuple(stacked), indices[0].rank))
        part = x.of(GatherND(last.value, index, 1))
        part = part if weight is None else part * weight.cast(x.dtype).reshape(*weight.dims, 1)
        total = part if total is None else join(total, part)
    assert total is not None
    return total


def _around(place: Term, mode: str) -> list[tuple[Term, Term | None]]:
    """The whole places around one, as floats, with their weights along this dim; None for a weight of 1."""
    if mode == "nearest":
        return [(place.of(Round(place.value)), None)]
    low = place.floor()
    t = place - low
    if mode == "linear":
        return [(low, 1.0 - t), (low + 1.0, t)]
    a = CUBIC

    def near(d: Term) -> Term:
        return ((d * (a + 2) - (a + 3)) * d * d) + 1.0

    def far(d: Term) -> Term:
        return ((d * a - 5 * a) * d + 8 * a) * d - 4 * a

    return [(low - 1.0, far(t + 1.0)), (low, near(t)), (low + 1.0, near(1.0 - t)), (low + 2.0, far(2.0 - t))]


def _extent(x: Term, dim: int) -> Term:
    """A spatial dim's extent as a number like the elements of x."""
    return x.of(Formulas((x.dims[2 + dim],), ())).cast(x.dtype)


@onnx_import("GridSample", since=16)
def _grid_sample(node: OnnxNode) -> Sequence[Value]:
    x, grid = Term(node, node.operand(0)), Term(node, node.operand(1))
    mode, padding = str(node.attribute("mode", "bilinear")), str(node.attribute("padding_mode", "zeros"))
    align, rank = bool(node.attribute("align_corners", 0)), x.rank - 2
    if mode not in MODES or padding not in ("zeros", "border", "reflection"):
        found = f"mode is {mode!r} and padding_mode {padding!r}"
        raise node.fail(f"{found}, expected one of {', '.join(MODES)} and of zeros, border, reflection")
    if not x.dtype.is_float and MODES[mode] != "nearest":
        raise node.unsupported(f"element type is {x.dtype}, expected float in mode {mode!r}")
    last = grid.dims[-1] if grid.rank else None
    if rank < 1:
        raise node.fail(f"the images are {x.type}, expected 3 dims or more")
    if grid.rank != x.rank or last is None or (last.is_constant and last.value != rank):
        raise node.fail(f"the grid is {grid.type} for {x.type}, expected {rank} coordinates for each place")
    extents = [_extent(x, d).cast(grid.dtype) for d in range(rank)]

    def place(dim: int) -> Term:
        """-1 to 1 as elements; the grid has the last dim first."""
        one = Term(node, sliced(node, grid.value, grid.rank - 1, Dim.constant(rank - 1 - dim), Dim.constant(1)))
        one = one.reshape(*grid.dims[:-1])
        if align:
            return (one + 1.0) * ((extents[dim] - 1.0) / 2.0)
        return ((one + 1.0) * extents[dim] - 1.0) / 2.0

    def reflected(p: Term, dim: int) -> Term:
        """Mirrored at the first and last element, or at their outer edges, as often as it takes."""
        edge = 0.0 if align else -0.5
        span = (extents[dim] - 1.0).at_least(0.0) if align else extents[dim]
        away = abs(p - edge)
        safe = span.at_least(1.0) if align else span
        times = (away / safe).floor()
        rest = away - times * safe
        odd = (times - (times / 2.0).floor() * 2.0).compare("eq", 1.0)
        found = odd.where(safe - rest, rest) + edge
        return span.compare("eq", 0.0).where(0.0, found) if align else found

    def inside(p: Term, dim: int) -> tuple[Term, Term | None]:
        if padding == "reflection":
            p = reflected(p, dim)
        legal = p.at_least(0.0).at_most(extents[dim] - 1.0)
        return legal, p.compare("eq", legal) if padding == "zeros" else None

    places = [place(d) for d in range(rank)]
    if MODES[mode] != "cubic":  # whose elements around a place are brought inside one by one
        if padding == "border":
            places = [p.at_least(0.0).at_most(extents[d] - 1.0) for d, p in enumerate(places)]
        elif padding == "reflection":
            places = [reflected(p, d) for d, p in enumerate(places)]
    return [sampled(x, places, MODES[mode], inside).move(-1, 1).value]


@onnx_import("RoiAlign", since=10)
def _roi_align(node: OnnxNode) -> Sequence[Value]:
    x, rois = Term(node, node.operand(0)), Term(node, node.operand(1))
    ranks = tuple(node.tensor(i).rank for i in range(3))
    if ranks != (4, 2, 1):
        raise node.fail(f"images, regions and their images' numbers have {ranks} dims, expected (4, 2, 1)")
    height, width = (int(node.attribute(f"output_{n}", 1)) for n in ("height", "width"))
    count, mode = int(node.attribute("sampling_ratio", 0)), str(node.attribute("mode", "avg"))
    half = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    offset = 0.5 if node.attribute("coordinate_transformation_mode", half) == "half_pixel" else 0.0
    if count < 1:
        raise node.unsupported("sampling_ratio is 0, so that the number of samples is data; expected 1 or more")
    if mode not in ("avg", "max"):
        raise node.fail(f"mode is {mode!r}, expected 'avg' or 'max'")
    scale = float(node.attribute("spatial_scale", 1.0))
    x1, y1, x2, y2 = (
        Term(node, sliced(node, rois.value, 1, Dim.constant(i), Dim.constant(1))) * scale - offset for i in range(4)
    )
    regions = rois.dims[0]

    def places(low: Term, high: Term, bins: int) -> Term:
        size = high - low
        size = size if offset else size.at_least(1.0)
        steps = rois.constant([[(i + 0.5) / count / bins for i in range(bins * count)]])
        return low + size * steps  # [regions, bins * count]

    ys, xs = places(y1, y2, height), places(x1, x2, width)
    dims = (regions, height * count, width * count)
    ys, xs = ys.reshape(*ys.dims, 1).expand(*dims), xs.reshape(regions, 1, width * count).expand(*dims)
    extents = [_extent(x, d).cast(rois.dtype) for d in range(2)]
    outside = [
        p.compare("lt", -1.0).cast(F32) + e.compare("lt", p).cast(F32) for p, e in zip((ys, xs), extents, strict=True)
    ]
    legal = [p.at_least(0.0).at_most(e - 1.0) for p, e in zip((ys, xs), extents, strict=True)]
    image = x.of(Gather(x.value, node.operand(2), 0))
    join = add if mode == "avg" else Term.at_least  # of the weighted elements, not of the interpolated ones
    found = sampled(image, legal, "linear", lambda p, d: (p.at_most(extents[d] - 1.0), None), join)
    kept = (outside[0] + outside[1]).compare("eq", 0.0)
    found = (
        kept.reshape(*dims, 1).where(found, found.like(0.0)).reshape(regions, height, count, width, count, x.dims[1])
    )
    return [found.reduce("mean" if mode == "avg" else "max", [2, 4], False).move(-1, 1).value]
