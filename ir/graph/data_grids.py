"""Grids that are data: elements of a resized dim where scales, sizes or a region say when the model runs.

In: a `Grid` for each dim that is resized, values of one element each.  Out: what is there, dim by dim: elements are
gathered at places that are computed, and added up with weights where there are several.

    x = nearest(node, x, axis, grid.places(mode), rounding)
    x = interpolated(node, x, axis, grid.places(mode), kernel)

Places are computed in f32 by ONNX's formulas, as in ONNX Runtime; those of a scale that is known are exact
(`headrace.ir.graph.grids`).
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import first_numbers, formulas
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.logic import And, Or
from headrace.ir.graph.ops.rounding import Ceil
from headrace.ir.types import F32, I64


@dataclass(frozen=True)
class Kernel:
    """Weights of neighbours: linear, or Keys' cubic with this coefficient."""

    cubic: float | None
    exclude_outside: bool


@dataclass(frozen=True)
class Grid:
    """Of one dim: `size` elements, `up` for `down` of the operand, all f32[1] but the size, which is i64[1]; of a
    region from `start` to `end`, in fractions of the way from the first to the last element."""

    node: OnnxNode
    extent: Dim
    size: Term
    up: Term
    down: Term
    region: tuple[Term, Term] | None = None

    def places(self, mode: str) -> Term:
        """Where each element lies: f32[size]."""
        i = first_numbers(self.node, self.size, f"{self.node.name}_size").cast(F32)
        extent, size = formulas(self.node, [self.extent]).cast(F32), self.size.cast(F32)
        half = (i + 0.5) * self.down / self.up
        several = self.size.compare("gt", 1)
        match mode:
            case "asymmetric":
                return i * self.down / self.up
            case "align_corners":
                return i * (extent - 1) / (size - 1).at_least(1.0)
            case "tf_half_pixel_for_nn":
                return self.up.compare("eq", self.down).where(i, half)
            case "pytorch_half_pixel":
                return several.where(half - 0.5, i.like(0))
            case "half_pixel_symmetric":
                return half - 0.5 + extent * (1 - size * self.down / (extent * self.up)) / 2
            case "tf_crop_and_resize":
                assert self.region is not None
                start, end = self.region
                across = start * (extent - 1) + i * (end - start) * (extent - 1) / (size - 1).at_least(1.0)
                return several.where(across, (start + end) * (extent - 1) / 2)
            case _:
                return half - 0.5


def rounded(places: Term, rounding: str) -> Term:
    """The nearest place, in one of ONNX's ways."""
    match rounding:
        case "floor":
            return places.floor()
        case "ceil":
            return ceil(places)
        case "round_prefer_ceil":
            return (places + 0.5).floor()
        case _:
            return ceil(places - 0.5)


def ceil(x: Term) -> Term:
    return x.of(Ceil(x.value))


def nearest(node: OnnxNode, x: Term, axis: int, places: Term) -> Term:
    """Elements at whole places, or the first or last one where they lie outside."""
    return x.of(Gather(x.value, _inside(node, places, x.dims[axis]).value, axis))


def interpolated(node: OnnxNode, x: Term, axis: int, places: Term, kernel: Kernel) -> Term:
    """Means of the elements around each place, those outside as the first or last one."""
    extent, floor = x.dims[axis], places.floor()
    behind = places - floor
    taps = range(-1, 3) if kernel.cubic is not None else range(2)
    weights = [_weight(behind, tap, kernel.cubic) for tap in taps]
    if kernel.exclude_outside:
        beyond = formulas(node, [extent]).cast(F32)
        exists = [_both((floor + t).compare("ge", 0), (floor + t).compare("lt", beyond)) for t in taps]
        weights = [e.where(w, w.like(0)) for e, w in zip(exists, weights, strict=True)]
        total = sum(weights[1:], start=weights[0])
        weights = [w / total for w in weights]
    trailing = (1,) * (x.rank - 1 - axis)
    parts = [
        nearest(node, x, axis, floor + t) * w.cast(x.dtype).reshape(*places.dims, *trailing)
        for t, w in zip(taps, weights, strict=True)
    ]
    return sum(parts[1:], start=parts[0])


def beyond_region(node: OnnxNode, places: Term, extent: Dim, trailing: int) -> Term:
    """bool[size, 1, ...]: which places lie outside of the operand."""
    last = formulas(node, [extent - 1]).cast(F32)
    outside = places.of(Or(places.compare("lt", 0).value, places.compare("gt", last).value))
    return outside.reshape(*places.dims, *(1,) * trailing)


def _inside(node: OnnxNode, places: Term, extent: Dim) -> Term:
    return places.cast(I64).at_least(0).at_most(formulas(node, [extent - 1]))


def _both(one: Term, other: Term) -> Term:
    return one.of(And(one.value, other.value))


def _weight(behind: Term, tap: int, cubic: float | None) -> Term:
    """Of the element `tap` from the floor, which lies `behind` before the place."""
    away = tap - behind if tap > 0 else behind - tap
    if cubic is None:
        return 1 - away
    if tap in (0, 1):
        return ((away * (cubic + 2) - (cubic + 3)) * away * away) + 1
    return ((away * cubic - 5 * cubic) * away + 8 * cubic) * away - 4 * cubic
