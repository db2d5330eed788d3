"""Strides of the same memory under other dims.

In: dims and strides, in elements.  Out: the strides of a reshape, of a slice, or of the dense buffer with these dims.
The stride of a dim of 1 means nothing; here it is always what a dense buffer would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from headrace.ir.dims import Dim
from headrace.ir.graph.linear import ONE, groups

Shape = tuple[Dim, ...]


def dense_strides(dims: Shape) -> Shape:
    """Row-major, without gaps."""
    return _inside(dims, ONE)


def plain_strides(dims: Shape, strides: Sequence[Dim]) -> Shape:
    """The same strides, with those of dims of 1 made what they are by definition."""
    found: list[Dim] = []
    below = ONE
    for dim, stride in zip(reversed(dims), reversed(strides), strict=True):
        own = below if dim == ONE else stride
        found.insert(0, own)
        below = own * dim
    return tuple(found)


def reshaped_strides(dims: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """The strides under the dims `wanted` of what lies row-major under `dims`; None if no strides give that."""
    found: list[Dim] = []
    for new, old in groups(wanted, dims):
        wide = [(d, s) for d, s in zip(dims[old], strides[old], strict=True) if d != ONE]
        if any(above != below * dim for (_, above), (dim, below) in pairwise(wide)):
            return None
        found += _inside(wanted[new], wide[-1][1] if wide else ONE)
    return plain_strides(wanted, found)


def _inside(dims: Sequence[Dim], last: Dim) -> Shape:
    """Of dims without gaps between them, the last with stride `last`."""
    found: list[Dim] = []
    below = last
    for dim in reversed(dims):
        found.insert(0, below)
        below = below * dim
    return tuple(found)
