"""Lines of resized dims: integer factors are plain quotients, scales mean simple fractions, regions are cut exactly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from headrace.ir.dims import Dim
from headrace.ir.graph.grids import MODES, ROUNDINGS, Region, Scale, line, simplest

PLACE, H = Dim.symbol("i"), Dim.symbol("h")


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize(("mode", "rounding"), [
    ("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"),
    ("half_pixel_symmetric", "round_prefer_floor"), ("tf_half_pixel_for_nn", "floor"),
])  # fmt: skip
def test_integer_factors_are_quotients(mode: str, rounding: str, factor: int) -> None:
    """No minimum, no maximum: what reads the dim can make lanes of what is beside it, whatever h is."""
    if rounding == "round_prefer_ceil" and factor % 2 == 0:
        rounding = "round_prefer_floor"  # every second element lies in the middle of two
    places = line(mode, H, H * factor, Scale.between(H, H * factor), several=False).rounded(rounding).reduced()
    assert places.inside(PLACE, H) == PLACE // factor


@pytest.mark.parametrize("mode", [m for m in MODES if m != "tf_crop_and_resize"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_as_in_fractions(mode: str, rounding: str) -> None:
    """Against the definition, in exact arithmetic."""
    for extent, size in ((3, 7), (8, 4), (5, 1), (1, 4), (6, 9)):
        scale = Fraction(size, extent)
        places = line(mode, Dim.constant(extent), Dim.constant(size), Scale.of(scale), several=size > 1)
        for i in range(size):
            half = (i + Fraction(1, 2)) / scale
            x = {
                "asymmetric": i / scale,
                "tf_half_pixel_for_nn": half,
                "pytorch_half_pixel": half - Fraction(1, 2) if size > 1 else Fraction(0),
                "align_corners": Fraction(i * (extent - 1), max(size - 1, 1)),
            }.get(mode, half - Fraction(1, 2))
            nearest = {
                "floor": x.__floor__(),
                "ceil": x.__ceil__(),
                "round_prefer_floor": (x - Fraction(1, 2)).__ceil__(),
                "round_prefer_ceil": (x + Fraction(1, 2)).__floor__(),
            }[rounding]
            at = Dim.constant(i)
            assert Fraction(places.numerator(at).value, places.divisor.value) == x
            assert places.rounded(rounding).inside(at, Dim.constant(extent)) == min(max(nearest, 0), extent - 1)


def test_scales_mean_simple_fractions() -> None:
    assert simplest(float(np.float32(0.6))) == Fraction(3, 5)
    assert simplest(float(np.float32(4 / 3))) == Fraction(4, 3)
    assert simplest(2.0) == 2
    assert Scale.between(H * 2 + 2, H * 3 + 3).number == Fraction(3, 2)
    assert Scale.between(H, H + 1).number is None


@pytest.mark.parametrize("ends", [("0", "1"), ("-1/4", "5/4"), ("1/2", "3/2"), ("1", "0"), ("3/2", "1/2"), ("2", "3")])
def test_what_a_region_shows(ends: tuple[str, str]) -> None:
    region = Region(Fraction(ends[0]), Fraction(ends[1]))
    for size in (1, 2, 5, 8):
        extent = Dim.constant(6)
        places = region.line(extent, Dim.constant(size), several=size > 1)
        begin, end = (d.value for d in region.shown(Dim.constant(size), several=size > 1))
        at = [Fraction(places.numerator(Dim.constant(i)).value, places.divisor.value) for i in range(size)]
        assert [begin <= i < end for i in range(size)] == [0 <= x <= 5 for x in at]
