"""Conditions on a domain, sorted by where a loop nest can test them.

In: formulas that must be >= 0, over axis names.  Out: for the lanes of a vector the half-open range in which
they hold, for a register axis the last value that is legal, or the formulas themselves for a `kernel.if`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.ir.dims import Dim, Facts, ceildiv, dim_max, dim_min
from headrace.ir.errors import PassError


@dataclass(frozen=True, slots=True)
class LaneRange:
    """The lanes l with lower <= l < upper, of `lanes` in all."""

    lower: Dim
    upper: Dim
    lanes: int


def lane_range(conditions: Iterable[Dim], axis: str, lanes: int, facts: Facts) -> LaneRange | None:
    """Where in [0, lanes) each condition holds; None if that is everywhere.

    Raises PassError if a condition is not linear in the axis with a constant coefficient.
    """
    lowers, uppers = [Dim.constant(0)], [Dim.constant(lanes)]
    for condition in conditions:
        factor, rest = linear_in(condition, axis)
        if factor > 0:
            lowers.append(ceildiv(-rest, factor))
        else:
            uppers.append(rest // -factor + 1)
    lowers = [d for d in lowers if facts.less_equal(d, Dim.constant(0)) is not True]
    uppers = [d for d in uppers if facts.less_equal(Dim.constant(lanes), d) is not True]
    if not lowers and not uppers:
        return None
    lower = dim_max(Dim.constant(0), *lowers)
    upper = dim_min(Dim.constant(lanes), *uppers)
    return LaneRange(lower, upper, lanes)


def linear_in(formula: Dim, axis: str) -> tuple[int, Dim]:
    """(c, rest) with formula = c * axis + rest.  Raises PassError if it is not of that form, with c constant."""
    split = formula.linear(axis)
    if split is None or not split[0].is_constant:
        raise PassError(f"{formula} is not linear in axis {axis}; such an axis can be no vector or register axis")
    return split[0].value, split[1]


def last_legal(condition: Dim, axis: str) -> Dim:
    """The largest value of `axis` for which `condition` holds.  Raises PassError unless it only bounds above."""
    factor, rest = linear_in(condition, axis)
    if factor >= 0:
        raise PassError(f"condition {condition} >= 0 bounds axis {axis} from below; only upper bounds can be clamped")
    return rest // -factor


def inside(indices: Iterable[Dim], extents: Iterable[Dim], facts: Facts) -> list[Dim]:
    """The conditions for indices to lie in a buffer that the facts do not decide already."""
    needed = []
    for index, extent in zip(indices, extents, strict=True):
        if facts.less_equal(Dim.constant(0), index) is not True:
            needed.append(index)
        if facts.less(index, extent) is not True:
            needed.append(extent - 1 - index)
    return needed
