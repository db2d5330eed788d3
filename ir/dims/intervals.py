"""Arithmetic on intervals.  In: intervals of numbers.  Out: the interval of what an operation makes of them.

An interval is (lowest, highest), both included; None stands for an infinity on its side.
"""

from __future__ import annotations

from collections.abc import Sequence

Interval = tuple[int | None, int | None]


def total(left: Interval, right: Interval) -> Interval:
    """All sums."""
    (a, b), (c, d) = left, right
    return None if a is None or c is None else a + c, None if b is None or d is None else b + d


def product(left: Interval, right: Interval) -> Interval:
    """All products."""
    if left == (0, 0) or right == (0, 0):
        return 0, 0
    corners: list[float] = []
    for a in (_low(left), _high(left)):
        corners += [0.0 if 0 in (a, b) else a * b for b in (_low(right), _high(right))]
    return _bound(min(corners)), _bound(max(corners))


def quotient(left: Interval, right: Interval) -> Interval:
    """Floor quotients for divisors that are at least 1."""
    smallest, largest = max(1, right[0] or 1), right[1]

    def at(end: int | None, lowest: bool) -> int | None:
        if end is None:
            return None
        if (end < 0) == lowest:  # dividing by less moves away from zero
            return end // smallest
        return (0 if end >= 0 else -1) if largest is None else end // largest

    return at(left[0], True), at(left[1], False)


def remainder(left: Interval, right: Interval) -> Interval:
    """Floor remainders for divisors that are at least 1."""
    ends = [] if right[1] is None else [right[1] - 1]
    if left[0] is not None and left[0] >= 0 and left[1] is not None:
        ends.append(left[1])
    return 0, min(ends, default=None)


def extreme(kind: str, parts: Sequence[Interval]) -> Interval:
    """All minima, or maxima, of a number from each part; `kind` is "min" or "max"."""
    lows, highs = [p[0] for p in parts], [p[1] for p in parts]
    known_lows, known_highs = [e for e in lows if e is not None], [e for e in highs if e is not None]
    if kind == "min":
        return None if None in lows else min(known_lows), min(known_highs, default=None)
    return max(known_lows, default=None), None if None in highs else max(known_highs)


def _low(interval: Interval) -> float:
    return float("-inf") if interval[0] is None else interval[0]


def _high(interval: Interval) -> float:
    return float("inf") if interval[1] is None else interval[1]


def _bound(value: float) -> int | None:
    return None if value in (float("inf"), float("-inf")) else int(value)
