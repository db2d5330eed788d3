"""Which of two elements comes first, with their indices to decide between equal ones, and NaNs at one end.

In: elements with the indices they stand at, as scalars of a kernel.  Out: whether one precedes the other, and the first
of the two; an index of `NONE_YET` stands for no element.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Value
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import element_dtype

NONE_YET = -1

Ranked = tuple[Value, Value]  # an element, and its index


@dataclass(frozen=True, slots=True)
class Ranking:
    """The largest element first or the smallest, NaNs before all numbers or behind them, of equal ones the lower index
    first or the higher."""

    largest: bool
    nan_first: bool
    higher_index: bool = False

    def precedes(self, b: ScalarBuilder, one: Ranked, other: Ranked) -> Value:
        """Whether one element, with its index, comes before another."""
        (x, i), (y, j) = one, other
        first, equal = b.compare("gt" if self.largest else "lt", x, y), b.compare("eq", x, y)
        if element_dtype(x.type).is_float:
            x_is_nan, y_is_nan = b.compare("ne", x, x), b.compare("ne", y, y)
            high, low = (x_is_nan, y_is_nan) if self.nan_first else (y_is_nan, x_is_nan)
            first = b.bit_or(first, b.bit_and(high, b.invert(low)))
            equal = b.bit_or(equal, b.bit_and(high, low))
        return b.bit_or(first, b.bit_and(equal, b.compare("gt" if self.higher_index else "lt", i, j)))

    def improves(self, b: ScalarBuilder, element: Ranked, best: Ranked) -> Value:
        """Whether an element comes before the best one so far, if there is any."""
        return b.bit_or(is_none(b, best[1]), self.precedes(b, element, best))

    def first(self, b: ScalarBuilder, left: Ranked, right: Ranked) -> list[Value]:
        """The one of two that comes first; either may be none."""
        takes = b.bit_and(b.invert(is_none(b, right[1])), self.improves(b, right, left))
        return [b.select(takes, new, old) for old, new in zip(left, right, strict=True)]


def is_none(b: ScalarBuilder, index: Value) -> Value:
    """Whether the index is that of no element."""
    return b.compare("lt", index, b.constant(0, index))
