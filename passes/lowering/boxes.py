"""The box of elements that an access touches while some axes run.

In: an index formula, axes with constant extents.  Out: where it starts, how far apart and how many its values are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from headrace.ir.access import Axis
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError


@dataclass(frozen=True, slots=True)
class Box:
    """How far apart and how many the elements are that an index takes while some axes run."""

    start: Dim
    step: int
    extent: int
    inside: Dim  # which of these the axes are at


def box(index: Dim, axes: Sequence[Axis]) -> Box:
    """Raises PassError for an index that does not rise in constant steps, or axes whose extents are no constants."""
    factors, most, rest = list[int](), 0, index
    for axis in axes:
        split = rest.linear(axis.name)
        if split is None or not split[0].is_constant or split[0].value < 0 or not axis.extent.is_constant:
            raise PassError(f"{index} moves with {axis} in no constant steps")
        factors.append(split[0].value)
        rest = split[1]
        most += factors[-1] * (axis.extent.value - 1)
    step = gcd(*factors) or 1
    inside = sum((Dim.symbol(a.name) * (f // step) for a, f in zip(axes, factors, strict=True)), Dim.constant(0))
    return Box(rest, step, most // step + 1, inside)
