"""Arithmetic on intervals, held against all numbers that small ones hold."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product as pairs

import pytest

from headrace.ir.dims.intervals import Interval, extreme, product, quotient, remainder, total

FAR = 40  # stands for an end that is open


def _numbers(interval: Interval) -> range:
    low, high = interval
    return range(-FAR if low is None else low, (FAR if high is None else high) + 1)


ANY = [ends for ends in pairs((None, -5, -1, 0, 2), (None, -3, 0, 1, 4)) if _numbers(ends)]
POSITIVE = [(1, 1), (1, 3), (2, 5), (3, None)]


@pytest.mark.parametrize(
    ("on_intervals", "on_numbers", "divisors"),
    [
        (total, lambda a, b: a + b, ANY),
        (product, lambda a, b: a * b, ANY),
        (quotient, lambda a, b: a // b, POSITIVE),
        (remainder, lambda a, b: a % b, POSITIVE),
        (lambda a, b: extreme("min", [a, b]), min, ANY),
        (lambda a, b: extreme("max", [a, b]), max, ANY),
    ],
    ids=["total", "product", "quotient", "remainder", "min", "max"],
)
def test_every_number_lies_inside(
    on_intervals: Callable[[Interval, Interval], Interval],
    on_numbers: Callable[[int, int], int],
    divisors: list[Interval],
) -> None:
    for left, right in pairs(ANY, divisors):
        low, high = on_intervals(left, right)
        found = [on_numbers(a, b) for a, b in pairs(_numbers(left), _numbers(right))]
        assert low is None or low <= min(found), (left, right)
        assert high is None or high >= max(found), (left, right)


def test_what_is_bounded_stays_bounded() -> None:
    assert total((1, 2), (-3, None)) == (-2, None)
    assert product((-2, 3), (4, 5)) == (-10, 15)
    assert product((0, 0), (None, None)) == (0, 0)
    assert quotient((-7, 9), (2, None)) == (-4, 4)
    assert remainder((0, 3), (8, 8)) == (0, 3)
    assert extreme("min", [(None, 4), (1, None)]) == (None, 4)
    assert extreme("max", [(None, 4), (1, None)]) == (1, None)
