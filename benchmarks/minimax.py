"""Derives the polynomials of `headrace.passes.lowering.elementary`: python benchmarks/minimax.py.

In: the functions below, in decimal arithmetic of 80 digits.  Out: `headrace/passes/lowering/coefficients.py` as text
on standard output, and on standard error the largest weighted error of each polynomial before rounding.

Each polynomial is the one of its degree with the smallest largest error (Remez' exchange); the weight turns the
polynomial's error into the relative error of the function that it serves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, getcontext

import numpy as np

getcontext().prec = 80
Function = Callable[[Decimal], Decimal]
ONE = Decimal(1)
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")


def erf(x: Decimal) -> Decimal:
    """By its Taylor series; 80 digits leave more than 50 behind the cancellation at 6."""
    term, total, n = x, x, 0
    while abs(term) > Decimal(10) ** -75:
        n += 1
        term = -term * x * x / n
        total += term / (2 * n + 1)
    return 2 / PI.sqrt() * total


def tanh(x: Decimal) -> Decimal:
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def sin(x: Decimal) -> Decimal:
    return _series(x, lambda n: -x * x / (2 * n * (2 * n + 1)))


def cos(x: Decimal) -> Decimal:
    return _series(ONE, lambda n: -x * x / (2 * n * (2 * n - 1)))


def atan(x: Decimal) -> Decimal:
    """For |x| well below 1."""
    return _series(x, lambda n: -x * x * (2 * n - 1) / (2 * n + 1))


def _series(first: Decimal, factor: Callable[[int], Decimal]) -> Decimal:
    """The sum of terms, each the one before times a factor."""
    term, total, n = first, first, 0
    while abs(term) > Decimal(10) ** -79:
        n += 1
        term *= factor(n)
        total += term
    return total


@dataclass(frozen=True)
class Wanted:
    """A polynomial close to `function` on [low, high]; `weight` multiplies its error."""

    name: str
    function: Function
    weight: Function
    low: Decimal
    high: Decimal
    degree: dict[str, int]  # by element type


def _exp(r: Decimal) -> Decimal:
    return (r.exp() - 1 - r) / (r * r)


def _log(f: Decimal) -> Decimal:
    return ((1 + f).ln() - f + f * f / 2) / f**3


def _tanh(z: Decimal) -> Decimal:
    x = z.sqrt()
    return (tanh(x) / x - 1) / z


def _erf(z: Decimal) -> Decimal:
    x = z.sqrt()
    return erf(x) / x - 1


def _log_erfc(x: Decimal) -> Decimal:
    return (1 - erf(x)).ln()


def _sin(z: Decimal) -> Decimal:
    x = z.sqrt()
    return (sin(x) / x - 1) / z


def _cos(z: Decimal) -> Decimal:
    return (cos(z.sqrt()) - 1 + z / 2) / (z * z)


def _atan(z: Decimal) -> Decimal:
    x = z.sqrt()
    return (atan(x) / x - 1) / z


QUARTER = PI / 4 + Decimal("0.001")
HALF_LN2 = Decimal(2).ln() / 2
ROOT = Decimal(2).sqrt()
HEADER = '''\
"""Polynomials of the elementary functions, lowest power first; printed by benchmarks/minimax.py, not edited.

EXP: (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2
LOG: (log(1 + f) - f + f^2/2) / f^3 for 1 + f in [sqrt(1/2), sqrt(2)]
TANH: (tanh(x)/x - 1) / x^2 in x^2, for |x| <= 0.7
ERF: erf(x)/x - 1 in x^2, for |x| <= 0.9
LOG_ERFC: log(1 - erf(x)) from 0.9 to where erf rounds to 1
SIN: (sin(x)/x - 1) / x^2 in x^2, for |x| <= pi/4
COS: (cos(x) - 1 + x^2/2) / x^4 in x^2, for |x| <= pi/4
ATAN: (atan(x)/x - 1) / x^2 in x^2, for |x| <= tan(pi/8)
"""
'''
EIGHTH = ROOT - 1  # tan(pi/8)
F32_END, F64_END = Decimal("3.95"), Decimal("5.95")  # erf rounds to 1 from here on

WANTED = (
    Wanted("EXP", _exp, lambda r: r * r / r.exp(), -HALF_LN2, HALF_LN2, {"f32": 4, "f64": 9}),
    Wanted("LOG", _log, lambda f: f**3 / (1 + f).ln(), 1 / ROOT - 1, ROOT - 1, {"f32": 7, "f64": 18}),
    Wanted("TANH", _tanh, lambda z: z * z.sqrt() / tanh(z.sqrt()), Decimal(0), Decimal("0.49"), {"f32": 5, "f64": 11}),
    Wanted("ERF", _erf, lambda z: z.sqrt() / erf(z.sqrt()), Decimal(0), Decimal("0.81"), {"f32": 5, "f64": 11}),
    Wanted("LOG_ERFC", _log_erfc, lambda x: 1 / erf(x) - 1, Decimal("0.9"), F32_END, {"f32": 6}),
    Wanted("LOG_ERFC", _log_erfc, lambda x: 1 / erf(x) - 1, Decimal("0.9"), F64_END, {"f64": 18}),
    Wanted("SIN", _sin, lambda z: z * z.sqrt() / sin(z.sqrt()), Decimal(0), QUARTER**2, {"f32": 2, "f64": 5}),
    Wanted("COS", _cos, lambda z: z * z / cos(z.sqrt()), Decimal(0), QUARTER**2, {"f32": 2, "f64": 5}),
    Wanted("ATAN", _atan, lambda z: z * z.sqrt() / atan(z.sqrt()), Decimal(0), EIGHTH**2, {"f32": 4, "f64": 10}),
)


def solve(rows: list[list[Decimal]]) -> list[Decimal]:
    """Gaussian elimination; each row ends with its right-hand side."""
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            if factor:
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    found = [Decimal(0)] * size
    for row in reversed(range(size)):
        known = sum((rows[row][c] * found[c] for c in range(row + 1, size)), Decimal(0))
        found[row] = (rows[row][size] - known) / rows[row][row]
    return found


def evaluate(coefficients: Sequence[Decimal], x: Decimal) -> Decimal:
    total = Decimal(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def remez(wanted: Wanted, degree: int) -> tuple[list[Decimal], Decimal]:
    """(coefficients, lowest power first; largest weighted error)."""
    # An even number of Chebyshev points, so that neither 0 nor an end where the weight vanishes is among them.
    count = 40 * (degree + 2)
    middle, half = (wanted.low + wanted.high) / 2, (wanted.high - wanted.low) / 2
    grid = [middle - half * Decimal(np.cos(np.pi * (i + 0.5) / count)) for i in range(count)]
    values = [(wanted.function(x), wanted.weight(x)) for x in grid]
    reference = [round((i + 0.5) * (count - 1) / (degree + 2)) for i in range(degree + 2)]
    for _ in range(30):
        rows = []
        for sign, place in enumerate(reference):
            value, weight = values[place]
            rows.append([*(grid[place] ** p for p in range(degree + 1)), (-ONE) ** sign / weight, value])
        *coefficients, _ = solve(rows)
        errors = [w * (v - evaluate(coefficients, x)) for x, (v, w) in zip(grid, values, strict=True)]
        found = _alternating(errors, degree + 2)
        if found == reference:
            break
        reference = found
    return coefficients, max(abs(e) for e in errors)


def _alternating(errors: Sequence[Decimal], wanted: int) -> list[int]:
    """Places of the extremes of each run of one sign; the smallest at the ends are dropped until `wanted` are left."""
    best: list[int] = []
    for place, error in enumerate(errors):
        if best and (errors[best[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[best[-1]]):
                best[-1] = place
        else:
            best.append(place)
    while len(best) > wanted:
        best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
    assert len(best) == wanted, "the error alternates too seldom; the grid is too coarse"
    return best


def main() -> None:
    print(HEADER)
    for name, number in (("f32", np.float32), ("f64", np.float64)):
        for wanted in WANTED:
            if name not in wanted.degree:
                continue
            degree = wanted.degree[name]
            coefficients, error = remez(wanted, degree)
            bits = float(error.ln() / Decimal(2).ln())
            print(f"{wanted.name}_{name.upper()}: degree {degree}, error 2^{bits:.1f}", file=sys.stderr)
            print(f"{wanted.name}_{name.upper()} = (")
            for value in coefficients:
                print(f"    {float(number(float(value)))!r},")
            print(")")


if __name__ == "__main__":
    main()
