"""Where the elements of a resized dim lie in the original: a straight line, as integer formulas.

In: the extents before and after, the scale between them, and one of ONNX's coordinate modes.  Out: a `Line`: element
i of the result lies at the fraction (i * slope + offset) / divisor of the operand.  No number is rounded: a scale of
0.6f means three fifths, so that element 5 of ten lies at 3 and not shortly before.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np

from headrace.ir.dims import Dim, dim_max, dim_min
from headrace.ir.graph.linear import ONE, ZERO

MODES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True, slots=True)
class Line:
    """`size` places (i * slope + offset) / divisor; divisor is at least 1."""

    size: Dim
    slope: Dim = ONE
    offset: Dim = ZERO
    divisor: Dim = ONE

    @property
    def is_plain(self) -> bool:
        """Whether element i lies at i."""
        return (self.slope, self.offset, self.divisor) == (ONE, ZERO, ONE)

    def numerator(self, i: Dim) -> Dim:
        """The place of element i, times the divisor."""
        return i * self.slope + self.offset

    def floor(self, i: Dim) -> Dim:
        """The last place of the operand that is not behind element i; it may lie outside."""
        return self.numerator(i) // self.divisor

    def inside(self, i: Dim, extent: Dim, shift: int = 0) -> Dim:
        """`floor(i) + shift`, or the nearest place of the operand where that lies outside of it."""
        return self._clamped(self.floor(i) + shift, extent, shift)

    def reduced(self) -> Line:
        """The same places in the smallest numbers."""
        if self.slope == self.divisor and self.offset == ZERO:
            return Line(self.size)
        if not all(d.is_constant for d in (self.slope, self.offset, self.divisor)):
            return self
        common = gcd(self.slope.value, self.offset.value, self.divisor.value)
        return Line(self.size, *(d // common for d in (self.slope, self.offset, self.divisor)))

    def rounded(self, rounding: str) -> Line:
        """The line whose floor is this one's place, rounded in one of ONNX's ways."""
        slope, offset, divisor = self.slope, self.offset, self.divisor
        match rounding:
            case "floor":
                return self
            case "ceil":
                return Line(self.size, slope, offset + divisor - 1, divisor)
            case "round_prefer_ceil":
                return Line(self.size, slope * 2, offset * 2 + divisor, divisor * 2)
            case _:
                return Line(self.size, slope * 2, offset * 2 + divisor - 1, divisor * 2)

    def part(self, begin: Dim, end: Dim) -> Line:
        """Elements `begin` to `end` only."""
        return Line(end - begin, self.slope, self.offset + begin * self.slope, self.divisor)

    def _clamped(self, place: Dim, extent: Dim, shift: int) -> Dim:
        first, last = self.floor(ZERO) + shift, self.floor(self.size - 1) + shift
        rising = self.slope.is_constant and self.slope.value >= 0
        if not (rising and first.is_constant and first.value >= 0):
            place = dim_max(place, 0)
        room = extent - 1 - last
        return place if rising and room.is_constant and room.value >= 0 else dim_min(place, extent - 1)


@dataclass(frozen=True, slots=True)
class Scale:
    """Elements of the result for one of the operand: the fraction up / down."""

    up: Dim
    down: Dim

    @staticmethod
    def of(number: Fraction) -> Scale:
        return Scale(Dim.constant(number.numerator), Dim.constant(number.denominator))

    @staticmethod
    def between(extent: Dim, size: Dim) -> Scale:
        """size / extent, as numbers where it is one whatever the symbols are."""
        if extent.terms and size.terms:
            (same, down), (monomial, up) = extent.terms[0], size.terms[0]
            if same == monomial and size * down == extent * up:
                return Scale.of(Fraction(up, down))
        return Scale(size, extent)

    @property
    def number(self) -> Fraction | None:
        """The fraction; None where it depends on symbols."""
        if self.up.is_constant and self.down.is_constant and self.down != ZERO:
            return Fraction(self.up.value, self.down.value)
        return None


def simplest(number: float) -> Fraction:
    """The fraction of small numbers that is `number` in single precision."""
    single = np.float32(number)
    exact = Fraction(float(single))
    for digits in range(1, 9):
        found = exact.limit_denominator(10**digits)
        if np.float32(float(found)) == single:
            return found
    return exact


def line(mode: str, extent: Dim, size: Dim, scale: Scale, *, several: bool) -> Line:
    """The places of a mode that has no region.  `several`: the result is known to have more than one element."""
    up, down = scale.up, scale.down
    many = ONE if several else dim_max(dim_min(size - 1, 1), 0)
    match mode:
        case "asymmetric":
            found = Line(size, down, ZERO, up)
        case "tf_half_pixel_for_nn":
            # In ONNX Runtime, whose mode it is, a dim that keeps its size does not move by a half.
            changed = dim_min(dim_max(size - extent, extent - size), 1)
            resized = changed if scale.number is None else ZERO if scale.number == 1 else ONE
            found = Line(size, down * 2, down * resized, up * 2)
        case "half_pixel_symmetric":
            found = Line(size, down * 2, extent * up - size * down + down - up, up * 2)
        case "pytorch_half_pixel":
            found = Line(size, down * 2 * many, (down - up) * many, up * 2)
        case "align_corners":
            found = Line(size, extent - 1, ZERO, size - 1 if several else dim_max(size - 1, 1))
        case _:
            found = Line(size, down * 2, down - up, up * 2)
    return found.reduced()


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a dim that the result shows, in fractions of the way from its first element to its last."""

    start: Fraction
    end: Fraction

    def line(self, extent: Dim, size: Dim, *, several: bool) -> Line:
        """The places of `tf_crop_and_resize`; some may lie outside."""
        start, end, whole = self._common()
        if several:
            slope, offset = (extent - 1) * (end - start), (extent - 1) * start * (size - 1)
            return Line(size, slope, offset, (size - 1) * whole).reduced()
        return Line(size, ZERO, (extent - 1) * (start + end), Dim.constant(2 * whole)).reduced()

    def shown(self, size: Dim, *, several: bool) -> tuple[Dim, Dim]:
        """The elements of the result from the first to behind the last that lie inside, if the dim has two or more."""
        start, end, whole = self._common()
        if not several or start == end:
            inside = 0 <= start + end <= 2 * whole
            return (ZERO, size) if inside else (ZERO, ZERO)
        steps, way = size - 1, abs(end - start)
        ahead = start if end > start else whole - start  # from the side that the elements come from
        first, last = -(steps * ahead // way), steps * (whole - ahead) // way
        begin = dim_min(dim_max(first, 0), size)
        return begin, dim_max(dim_min(last + 1, size), begin)

    def _common(self) -> tuple[int, int, int]:
        whole = self.start.denominator * self.end.denominator // gcd(self.start.denominator, self.end.denominator)
        return int(self.start * whole), int(self.end * whole), whole
