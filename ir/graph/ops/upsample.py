"""ONNX Resize and Upsample: a grid for each dim, then graph.resize for the nearest element or graph.interpolate.

Scales are numbers; sizes may be formulas; what is data is for `headrace.ir.graph.data_resize`.  `tf_crop_and_resize`
resizes the part of the result that lies inside and pads it with the extrapolation value.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from headrace.ir.core import Value
from headrace.ir.dims import Dim, dim_min
from headrace.ir.graph.data_resize import resized_by_data, scaled_by_data
from headrace.ir.graph.families import Array, accumulator
from headrace.ir.graph.grids import MODES, ROUNDINGS, Line, Region, Scale, line, simplest
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.cast import as_dtype
from headrace.ir.graph.ops.interpolate import MOST_TAPS, RADIUS, Interpolate
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.resize import Resize, fields_of
from headrace.ir.graph.sampling import build
from headrace.ir.types import F32

WHOLE = Region(Fraction(0), Fraction(1))


@onnx_import("Upsample", since=7)
def _upsample_7(node: OnnxNode) -> Sequence[Value]:
    return [_scaled(node, node.attribute("scales", ()))]


@onnx_import("Upsample", since=9)
@onnx_import("Resize", since=10)
def _by_scales(node: OnnxNode) -> Sequence[Value]:
    scales = node.constant(1)
    return [scaled_by_data(node).value if scales is None else _scaled(node, _numbers(scales))]


@onnx_import("Resize", since=11)
def _resize_11(node: OnnxNode) -> Sequence[Value]:
    mode = node.attribute("coordinate_transformation_mode", "half_pixel")
    if mode not in MODES:
        raise node.fail(f"coordinate_transformation_mode is {mode!r}, expected one of {', '.join(MODES)}")
    rank = node.tensor(0).rank
    axes = [node.axis(a, rank) for a in node.attribute("axes", tuple(range(rank)))]
    if len(set(axes)) < len(axes):
        raise node.fail(f"axes {axes} name a dim twice")
    rounding = node.attribute("nearest_mode", "round_prefer_floor")
    if rounding not in ROUNDINGS:
        raise node.fail(f"nearest_mode is {rounding!r}, expected one of {', '.join(ROUNDINGS)}")
    if _has_sizes(node) and node.input(3) is None:
        raise node.fail("scales and sizes are missing, expected one of them")
    if _is_data(node, mode):
        return [resized_by_data(node, axes, mode, rounding).value]
    regions = _regions(node, axes) if mode == "tf_crop_and_resize" else [WHOLE] * rank
    sizes, scales = _sizes(node, axes, regions)
    lines, shown = [], []
    for extent, size, scale, region in zip(node.tensor(0).dims, sizes, scales, regions, strict=True):
        places, part = _line(node, mode, extent, size, scale, region)
        lines.append(places)
        shown.append(part)
    found = _resized(node, lines, [rounding] * rank)
    outside = [(begin, size - end) for (begin, end), size in zip(shown, sizes, strict=True)]
    if all(pad == (ZERO, ZERO) for pad in outside):
        return [found]
    value = node.attribute("extrapolation_value", 0.0)
    before, after = zip(*outside, strict=True)
    return [node.add(Pad(found, before, after, value if node.tensor(0).dtype.is_float else int(value)))]


def _is_data(node: OnnxNode, mode: str) -> bool:
    """Whether the scales, the sizes or the region are known only when the model runs."""
    region_is_data = mode == "tf_crop_and_resize" and node.constant(1) is None
    return region_is_data or (node.shape_value(3) is None if _has_sizes(node) else node.constant(2) is None)


def _has_sizes(node: OnnxNode) -> bool:
    return node.input(2) is None or node.tensor(2).dims == (ZERO,)


def _scaled(node: OnnxNode, scales: Sequence[float]) -> Value:
    """What Upsample and the first Resize do: places at i / scale.  Of the nearest element ONNX says nothing; it is the
    one before, or where a dim is made smaller the one behind, as in ONNX Runtime."""
    dims = node.tensor(0).dims
    lines, roundings = [], []
    for extent, scale in zip(dims, _scales(node, scales, range(len(dims))), strict=True):
        lines.append(line("asymmetric", extent, _floor(extent, scale), scale, several=False))
        roundings.append("floor" if (scale.number or 1) >= 1 else "ceil")
    return _resized(node, lines, roundings)


def _resized(node: OnnxNode, lines: Sequence[Line], roundings: Sequence[str]) -> Value:
    x, dtype = node.operand(0), node.tensor(0).dtype
    mode = node.attribute("mode", "nearest")
    if mode == "nearest":
        parts = zip(lines, roundings, strict=True)
        return node.add(Resize(x, *fields_of([p if p.is_plain else p.rounded(r).reduced() for p, r in parts])))
    if mode not in RADIUS:
        raise node.fail(f"mode is {mode!r}, expected 'nearest', 'linear' or 'cubic'")
    antialias = bool(node.attribute("antialias", 0))
    for places in lines:
        if antialias and not (places.slope.is_constant and places.divisor.is_constant):
            raise node.unsupported("antialias for a scale that is a formula, expected a number")
        if antialias and places.slope.value * RADIUS[mode] * 2 > places.divisor.value * MOST_TAPS:
            raise node.unsupported(f"antialias over more than {MOST_TAPS} elements")
    # Weighted means of integers are taken in floats and cut once, at the end.
    wide = as_dtype(node, x, F32 if not dtype.is_float else accumulator(dtype))
    cubic, exclude = node.attribute("cubic_coeff_a", -0.75), bool(node.attribute("exclude_outside", 0))
    found = node.add(build(Interpolate, wide, *fields_of(lines), mode, cubic, exclude, antialias))
    return as_dtype(node, found, dtype)


def _line(
    node: OnnxNode, mode: str, extent: Dim, size: Dim, scale: Scale, region: Region
) -> tuple[Line, tuple[Dim, Dim]]:
    """The places of the elements that lie inside, and which elements of the result these are."""
    if size == ZERO or (size == extent and scale.number == 1 and region == WHOLE):
        return Line(size), (ZERO, size)
    several = node.is_nonnegative(size - 2)
    if mode != "tf_crop_and_resize":
        return line(mode, extent, size, scale, several=several), (ZERO, size)
    if not several and size != 1:
        raise node.unsupported(f"a size of {size}, which may be 1 or not, in mode 'tf_crop_and_resize'")
    places = region.line(extent, size, several=several)
    begin, end = region.shown(size, several=several)
    # The only element of a dim of 1 is shown everywhere.
    many = dim_min(extent - 1, 1)
    begin, end = begin * many, size - (size - end) * many
    return places.part(begin, end), (begin, end)


def _sizes(node: OnnxNode, axes: Sequence[int], regions: Sequence[Region]) -> tuple[list[Dim], list[Scale]]:
    """The extents of the result, and the scale of each dim."""
    dims = list(node.tensor(0).dims)
    scales = [Scale.of(Fraction(1))] * len(dims)
    if not _has_sizes(node):
        given_scales = node.constant(2)
        assert given_scales is not None
        scales = _scales(node, _numbers(given_scales), axes)
        parts = [region.end - region.start for region in regions]
        sizes = [_floor(d, s, part) for d, s, part in zip(dims, scales, parts, strict=True)]
        return sizes, scales
    given = node.shape_value(3)
    assert given is not None
    if len(given) != len(axes):
        raise node.fail(f"{len(given)} sizes for {len(axes)} axes, expected one each")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        return _in_proportion(node, axes, given, policy)
    sizes = dims.copy()
    for axis, size in zip(axes, given, strict=True):
        if not node.is_nonnegative(size):
            raise node.fail(f"a size is {size}, expected 0 or more")
        sizes[axis] = node.simplify(size)
        scales[axis] = Scale.between(dims[axis], sizes[axis])
    return sizes, scales


def _in_proportion(
    node: OnnxNode, axes: Sequence[int], given: Sequence[Dim], policy: str
) -> tuple[list[Dim], list[Scale]]:
    """One scale for all axes, so that none is larger than its size, or none smaller."""
    if policy not in ("not_larger", "not_smaller"):
        raise node.fail(f"keep_aspect_ratio_policy is {policy!r}, expected 'stretch', 'not_larger' or 'not_smaller'")
    sizes = list(node.tensor(0).dims)
    scales = [Scale.of(Fraction(1))] * len(sizes)
    wanted = [Scale.between(sizes[axis], size).number for axis, size in zip(axes, given, strict=True)]
    if None in wanted:
        raise node.unsupported(f"keep_aspect_ratio_policy is {policy!r} for sizes that are formulas, expected numbers")
    numbers = [n for n in wanted if n is not None]
    common = min(numbers) if policy == "not_larger" else max(numbers)
    for axis in axes:
        scales[axis] = Scale.of(common)
        sizes[axis] = (sizes[axis] * (2 * common.numerator) + common.denominator) // (2 * common.denominator)
    return sizes, scales


def _scales(node: OnnxNode, numbers: Sequence[float], axes: Sequence[int]) -> list[Scale]:
    """The scale of every dim, from those of some axes."""
    scales = [Scale.of(Fraction(1))] * node.tensor(0).rank
    if len(numbers) != len(axes):
        raise node.fail(f"{len(numbers)} scales for {len(axes)} axes, expected one each")
    for axis, number in zip(axes, numbers, strict=True):
        if not 0 < number < float("inf"):
            raise node.fail(f"a scale is {number}, expected a number above 0")
        scales[axis] = Scale.of(simplest(number))
    return scales


def _regions(node: OnnxNode, axes: Sequence[int]) -> list[Region]:
    given = node.constant(1)
    assert given is not None
    numbers = [simplest(n) for n in _numbers(given)]
    if len(numbers) != 2 * len(axes):
        raise node.fail(f"roi has {len(numbers)} elements for {len(axes)} axes, expected two each")
    regions = [WHOLE] * node.tensor(0).rank
    for number, axis in enumerate(axes):
        regions[axis] = Region(numbers[number], numbers[len(axes) + number])
    return regions


def _numbers(given: Array) -> list[float]:
    """A small operand of floats."""
    return [float(n) for n in given.reshape(-1)]


def _floor(extent: Dim, scale: Scale, part: Fraction = Fraction(1)) -> Dim:
    """floor(extent * scale), of a part of the dim."""
    return (extent * scale.up * part.numerator) // (scale.down * part.denominator)
