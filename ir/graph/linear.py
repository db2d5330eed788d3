"""Which element of one shape is which element of another when both list the same elements row-major.

In: an index of a result, and two shapes of equal element counts.  Out: the index in the source.  Dims are
paired into the smallest groups of equal products, so that formulas stay as simple as they can be: equal dims
map one to one, a group of one source dim to a sum, others by division and remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from headrace.ir.dims import Dim, ceildiv, dim_max, dim_min

Shape = tuple[Dim, ...]
ZERO = Dim.constant(0)
ONE = Dim.constant(1)
LONG_STEP = 2**55  # beyond any dim of a tensor that lies in memory


def reshaped_index(index: Shape, result: Shape, source: Shape) -> Shape:
    """Where in `source` the element at `index` of `result` lies."""
    if ZERO in source:
        return tuple(ZERO for _ in source)  # there is no element
    found: list[Dim] = []
    for results, sources in groups(result, source):
        place = linear(index[results], result[results])
        found.extend(_split(place, source[sources]))
    return tuple(found)


def steps_in(span: Dim, step: int) -> Dim:
    """How many places, `step` above 0 apart, there are in a span.  A long step takes the first only; as a divisor it
    would lead formulas of bytes beyond 64 bits."""
    return dim_max(ceildiv(span, step), 0) if step < LONG_STEP else dim_min(dim_max(span, 0), 1)


def linear(index: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """The row-major place of `index` in `shape`."""
    place = ZERO
    for i, d in zip(index, shape, strict=True):
        place = place * d + (ZERO if d == ONE else i)
    return place


def groups(left: Shape, right: Shape) -> list[tuple[slice, slice]]:
    """Both shapes cut into the smallest pieces whose products agree, in order; dims of 1 join a neighbour."""
    found = []
    start = (0, 0)
    at = [0, 0]
    products = [ONE, ONE]
    while at[0] < len(left) or at[1] < len(right):
        side = _next_side(products, at, (left, right))
        products[side] *= (left, right)[side][at[side]]
        at[side] += 1
        if products[0] == products[1] and all(a > s for a, s in zip(at, start, strict=True)):
            found.append((slice(start[0], at[0]), slice(start[1], at[1])))
            start, products = (at[0], at[1]), [ONE, ONE]
    rest = (slice(start[0], len(left)), slice(start[1], len(right)))
    if start != (len(left), len(right)):
        if found and products[0] == ONE == products[1]:
            last = found.pop()
            rest = (slice(last[0].start, len(left)), slice(last[1].start, len(right)))
        found.append(rest)
    return found


def _next_side(products: list[Dim], at: list[int], shapes: tuple[Shape, Shape]) -> int:
    """The side to take a dim from: the one whose product is a factor of the other's so far, the left in doubt."""
    for side in (0, 1):
        if at[side] == len(shapes[side]):
            return 1 - side
    left, right = products
    if left.is_constant and right.is_constant:
        return 0 if left.value <= right.value else 1
    return 0 if len(left.symbols) < len(right.symbols) or (left.symbols == right.symbols and at[0] <= at[1]) else 1


def _split(place: Dim, shape: Shape) -> Shape:
    """The index of element `place` of `shape`; the first dim needs no remainder, since `place` is inside."""
    wide = [i for i, d in enumerate(shape) if d != ONE]
    found = [ZERO] * len(shape)
    for number, i in enumerate(wide):
        below = prod((shape[j] for j in wide[number + 1 :]), start=ONE)
        part = place // below
        found[i] = part if number == 0 else part % shape[i]
    return tuple(found)
