"""ONNX Resize and Upsample whose scales, sizes or region are data.

In: the node, the axes that are resized.  Out: the result: a grid for each of the axes, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import formulas
from headrace.ir.graph.data_grids import Grid, Kernel, beyond_region, ceil, interpolated, nearest, rounded
from headrace.ir.graph.families import accumulator
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.ops.logic import Or
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.types import F32, I64


def scaled_by_data(node: OnnxNode) -> Term:
    """Upsample and the first Resize: places at i / scale; the nearest element is the one before, or where a dim is made
    smaller the one behind."""
    axes = range(node.tensor(0).rank)
    scales = _floats(node, 1, len(axes))
    x = _operand(node)
    extents = formulas(node, [x.dims[a] for a in axes]).cast(F32)
    sizes, ones = (extents * scales).floor().cast(I64), scales.like(1.0).expand(1)
    for number, axis in enumerate(axes):
        scale = _at(node, scales, number)
        places = Grid(node, x.dims[axis], _at(node, sizes, number), scale, ones).places("asymmetric")
        near = scale.compare("lt", 1.0).where(ceil(places), places.floor())
        x = _along(node, x, axis, places, near)
    return x.cast(node.tensor(0).dtype)


def resized_by_data(node: OnnxNode, axes: Sequence[int], mode: str, rounding: str) -> Term:
    """Resize from opset 11 on."""
    x, count = _operand(node), len(axes)
    sizes, up, down = _sizes(node, [x.dims[a] for a in axes], mode)
    regions = [None] * count if mode != "tf_crop_and_resize" else _regions(node, count)
    outside: list[Term] = []
    for number, (axis, region) in enumerate(zip(axes, regions, strict=True)):
        extent = x.dims[axis]
        size, to, of = (_at(node, v, number) for v in (sizes, up, down))
        places = Grid(node, extent, size, to, of, region).places(mode)
        x = _along(node, x, axis, places, rounded(places, rounding))
        if region is not None:
            outside.append(beyond_region(node, places, extent, x.rank - 1 - axis))
    x = x.cast(node.tensor(0).dtype)
    if not outside:
        return x
    beyond = outside[0]
    for mask in outside[1:]:
        beyond = beyond.of(Or(beyond.value, mask.value))
    return beyond.where(node.attribute("extrapolation_value", 0.0), x)


def _along(node: OnnxNode, x: Term, axis: int, places: Term, near: Term) -> Term:
    """One axis, in the way that the node says."""
    mode = node.attribute("mode", "nearest")
    if mode == "nearest":
        return nearest(node, x, axis, near)
    if mode not in ("linear", "cubic"):
        raise node.fail(f"mode is {mode!r}, expected 'nearest', 'linear' or 'cubic'")
    if node.attribute("antialias", 0):
        raise node.unsupported("antialias for scales or sizes that are data, expected them known while compiling")
    coefficient = node.attribute("cubic_coeff_a", -0.75) if mode == "cubic" else None
    kernel = Kernel(coefficient, bool(node.attribute("exclude_outside", 0)))
    return interpolated(node, x, axis, places, kernel)


def _operand(node: OnnxNode) -> Term:
    """In the type in which means are taken: those of integers are cut once, at the end."""
    x = Term(node, node.operand(0))
    is_nearest = node.attribute("mode", "nearest") == "nearest"
    return x if is_nearest else x.cast(accumulator(x.dtype) if x.dtype.is_float else F32)


def _sizes(node: OnnxNode, extents: Sequence[Dim], mode: str) -> tuple[Term, Term, Term]:
    """The sizes, and the scales as fractions, of all axes."""
    count, dims = len(extents), formulas(node, extents)
    wide = dims.cast(F32)
    if node.input(3) is None:
        scales = _floats(node, 2, count)
        parts = wide * scales
        if mode == "tf_crop_and_resize":
            roi = _floats(node, 1, 2 * count)
            parts = parts * (_part(node, roi, count, count) - _part(node, roi, 0, count))
        return parts.floor().cast(I64), scales, scales.like(1.0).expand(count)
    sizes = Term(node, node.operand(3)).reshape(count)
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes, sizes.cast(F32), wide
    if policy not in ("not_larger", "not_smaller"):
        raise node.fail(f"keep_aspect_ratio_policy is {policy!r}, expected 'stretch', 'not_larger' or 'not_smaller'")
    common = (sizes.cast(F32) / wide).reduce("min" if policy == "not_larger" else "max", (0,)).expand(count)
    return (common * wide + 0.5).floor().cast(I64), common, common.like(1.0).expand(count)


def _regions(node: OnnxNode, count: int) -> list[tuple[Term, Term]]:
    roi = _floats(node, 1, 2 * count)
    return [(_at(node, roi, number), _at(node, roi, count + number)) for number in range(count)]


def _floats(node: OnnxNode, number: int, count: int) -> Term:
    return Term(node, node.operand(number)).cast(F32).reshape(count)


def _at(node: OnnxNode, x: Term, number: int) -> Term:
    return _part(node, x, number, 1)


def _part(node: OnnxNode, x: Term, first: int, count: int) -> Term:
    return Term(node, sliced(node, x.value, 0, Dim.constant(first), Dim.constant(count)))
