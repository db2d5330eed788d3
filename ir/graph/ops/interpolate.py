"""graph.interpolate: means of neighbouring elements on another grid, linear or cubic.

    %y = graph.interpolate %x {sizes = [n, 3, h*2, w*2], slopes = [1, 1, 2, 2], offsets = [0, 0, -1, -1],
        divisors = [1, 1, 4, 4], kernel = "linear"} : f32[n, 3, h*2, w*2]

Element i of a dim lies at (i * slope + offset) / divisor of the operand, between elements whose weights depend on
how far they are: 1 - t for the linear kernel; Keys' two cubics, with coefficient `cubic`, for the cubic one.  Beyond
the ends the first and last elements go on for ever; with `exclude_outside` they do not, and the weights of the others
add up to 1.  With `antialias`, a kernel that looks at a dim made smaller is as much wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, Index, Pull, PullBuilder, Sampler, accumulator, tensor
from headrace.ir.graph.grids import Line
from headrace.ir.graph.ops.resize import OnGrid, fields_of, sample_line
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType, Type

RADIUS = {"linear": 1, "cubic": 2}
MOST_TOGETHER = 16  # elements read for one of the result; with more, one dim comes after the other
MOST_TAPS = 128  # along one dim


@op("graph.interpolate")
class Interpolate(OnGrid, Pull):
    """x on a grid of `sizes`, by weighted means."""

    x: Value
    sizes: tuple[Dim, ...]
    slopes: tuple[Dim, ...]
    offsets: tuple[Dim, ...]
    divisors: tuple[Dim, ...]
    kernel: str = "linear"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if not kind.dtype.is_float:
            raise self.wrong_dtype(kind.dtype, ("float",))
        if self.kernel not in RADIUS:
            raise self.fail(f"kernel is {self.kernel!r}, expected 'linear' or 'cubic'")
        found = super().infer()
        if self.antialias and not all(p.slope.is_constant and p.divisor.is_constant for p in self.lines):
            raise self.fail("antialias for a scale that is a formula, expected a number")
        return found

    def decompose(self, builder: Builder) -> Sequence[Value] | None:
        wide = [i for i, places in enumerate(self.lines) if not places.is_plain]
        if len(wide) < 2 or prod(len(self._taps(self.lines[i])) for i in wide) <= MOST_TOGETHER:
            return None
        found = self.x
        for axis in reversed(wide):
            lines = [self.lines[i] if i == axis else Line(d) for i, d in enumerate(tensor(found).dims)]
            part = Interpolate(found, *fields_of(lines), self.kernel, self.cubic, self.exclude_outside, self.antialias)
            found = builder.add(part).result
        return [found]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        dtype = accumulator(tensor(self.x).dtype)
        extents = tensor(self.x).dims
        along: list[list[tuple[Dim, Value | None]]] = []
        for places, i, extent in zip(self.lines, index, extents, strict=True):
            if places.is_plain:
                along.append([(i, None)])
                continue
            taps = self._taps(places)
            weights = self._weights(b, places, i, extent, taps)
            along.append([(places.inside(i, extent, t), w) for t, w in zip(taps, weights, strict=True)])
        total: Value | None = None
        for choice in product(*along):
            element = b.cast(b.read(self.x, tuple(at for at, _ in choice)), dtype)
            for weight in (w for _, w in choice if w is not None):
                element = b.mul(element, weight)
            total = element if total is None else b.add(total, element)
        assert total is not None
        return b.cast(total, tensor(self.x).dtype)

    def _stretch(self, places: Line) -> Fraction:
        """How much wider the kernel is than on the operand's own grid."""
        if not self.antialias:
            return Fraction(1)
        return max(Fraction(places.slope.value, places.divisor.value), Fraction(1))

    def _taps(self, places: Line) -> range:
        """The elements that count, from the one at the floor on."""
        reach = RADIUS[self.kernel] * self._stretch(places)
        before = (-reach).__floor__() + 1
        return range(before, 2 - before)

    def _weights(self, b: PullBuilder, places: Line, i: Dim, extent: Dim, taps: range) -> list[Value]:
        """One for each tap."""
        like = accumulator(tensor(self.x).dtype)
        divisor = b.cast(b.index(places.divisor), like)
        behind = b.div(b.cast(b.index(places.numerator(i) % places.divisor), like), divisor)
        stretch = self._stretch(places)
        weights = [self._weight(b, behind, t, stretch) for t in taps]
        if self.exclude_outside:
            at = [places.floor(i) + t for t in taps]
            nothing = b.constant(0, like)
            weights = [b.select(b.holds(p, extent - 1 - p), w, nothing) for p, w in zip(at, weights, strict=True)]
        if not self.exclude_outside and stretch == 1:
            return weights
        total = weights[0]
        for weight in weights[1:]:
            total = b.add(total, weight)
        return [b.div(w, total) for w in weights]

    def _weight(self, b: ScalarBuilder, behind: Value, tap: int, stretch: Fraction) -> Value:
        """Of the element `tap` from the floor, which lies `behind` before the place."""
        away = b.sub(b.constant(tap, behind), behind) if tap > 0 else b.sub(behind, b.constant(tap, behind))
        if stretch != 1:
            away = b.mul(away, b.constant(float(1 / stretch), behind))
        if self.kernel == "linear":
            weight = b.sub(b.constant(1, behind), away)
            return b.maximum(weight, b.constant(0, behind)) if stretch != 1 else weight
        if stretch == 1:
            return self._near(b, away) if tap in (0, 1) else self._far(b, away)
        near = b.compare("le", away, b.constant(1, away))
        beyond = b.select(b.compare("lt", away, b.constant(2, away)), self._far(b, away), b.constant(0, away))
        return b.select(near, self._near(b, away), beyond)

    def _near(self, b: ScalarBuilder, t: Value) -> Value:
        return _polynomial(b, t, (self.cubic + 2, -(self.cubic + 3), 0.0, 1.0))

    def _far(self, b: ScalarBuilder, t: Value) -> Value:
        return _polynomial(b, t, (self.cubic, -5 * self.cubic, 8 * self.cubic, -4 * self.cubic))

    def reference(self, *operands: Array) -> Array:
        x = widened(operands[0])
        for axis, places in enumerate(self.lines):
            if not places.is_plain:
                x = self._along(x, axis, places)
        return x.astype(operands[0].dtype)

    def _along(self, x: Array, axis: int, places: Line) -> Array:
        extent = x.shape[axis]
        taps = self._taps(places)
        numerator = np.arange(places.size.value) * places.slope.value + places.offset.value
        floor, behind = numerator // places.divisor.value, numerator % places.divisor.value / places.divisor.value
        away = np.abs(np.array(taps)[:, None] - behind) / float(self._stretch(places))
        weights = np.maximum(1 - away, 0)
        if self.kernel == "cubic":
            a = self.cubic
            far = np.where(away < 2, ((a * away - 5 * a) * away + 8 * a) * away - 4 * a, 0)
            weights = np.where(away <= 1, ((a + 2) * away - (a + 3)) * away * away + 1, far)
        at = floor + np.array(taps)[:, None]
        if self.exclude_outside:
            weights = np.where((at >= 0) & (at < extent), weights, 0)
        if self.exclude_outside or self._stretch(places) != 1:
            weights = weights / weights.sum(0)
        total: Array | None = None
        for place, weight in zip(np.clip(at, 0, extent - 1), weights.astype(x.dtype), strict=True):
            shape = [-1 if i == axis else 1 for i in range(x.ndim)]
            part = np.take(x, place, axis) * weight.reshape(shape)
            total = part if total is None else total + part
        assert total is not None
        return total

    @classmethod
    def sample(cls, sampler: Sampler) -> Interpolate:
        dims = sampler.dims(pick(sampler, 1, 2))
        antialias = chance(sampler, 0.3)
        lines = [sample_line(sampler, d) for d in dims]
        if antialias:
            lines = [
                p if p.slope.is_constant and p.divisor.is_constant else Line(d)
                for p, d in zip(lines, dims, strict=True)
            ]
        kernel = ("linear", "cubic")[pick(sampler, 0, 1)]
        x = sampler.tensor(TensorType(F32, dims))
        return cls(x, *fields_of(lines), kernel, -0.5, chance(sampler, 0.3), antialias)


def _polynomial(b: ScalarBuilder, t: Value, coefficients: tuple[float, ...]) -> Value:
    """By Horner's rule, highest power first."""
    total = b.constant(coefficients[0], t)
    for c in coefficients[1:]:
        total = b.muladd(total, t, b.constant(c, t))
    return total
