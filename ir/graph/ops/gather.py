"""ONNX Gather: slices of a tensor at indices along a dim.

Indices must be known while compiling, as numbers or as formulas: evenly spaced ones become one graph.slice,
others a graph.concat of slices.  Two constants give a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.ops.slice import sliced

MOST_SLICES = 64  # a gather of more indices than this, in no regular order, is data
MOST_FOLDED = 2**14  # elements of a constant that may be larger than what it is made of


@onnx_import("Gather")
def _gather(node: OnnxNode) -> Sequence[Value]:
    """Indices that are known: one slice where they are evenly spaced, else a concat of single ones."""
    x, kind = node.operand(0), node.tensor(0)
    axis = node.axis(node.attribute("axis", 0), kind.rank)
    folded = _folded(node, axis)
    if folded is not None:
        return [node.add_constant(folded)]
    indices = node.shape_value(1)
    if indices is None:
        raise node.unsupported("the indices are data, expected integers that are known while compiling")
    places = [_counted(node, i, kind.dims[axis]) for i in indices]
    step = _even_step(places)
    if step is not None:
        found = sliced(node, x, axis, places[0], Dim.constant(len(places)), step)
    elif 0 < len(places) <= MOST_SLICES:
        found = node.add(Concat(tuple(sliced(node, x, axis, p, ONE) for p in places), axis))
    else:
        raise node.unsupported(f"{len(places)} indices in no regular order, expected at most {MOST_SLICES}")
    return [reshaped(node, found, (*kind.dims[:axis], *node.tensor(1).dims, *kind.dims[axis + 1 :]))]


def _folded(node: OnnxNode, axis: int) -> Array | None:
    """The elements, where operand and indices are constants and the result is no larger than both, or small."""
    x, indices = node.constant(0), node.constant(1)
    if x is None or indices is None or not x.shape[axis]:
        return None
    if x.size // x.shape[axis] * indices.size > max(x.size + indices.size, MOST_FOLDED):
        return None
    try:
        return np.take(x, indices, axis)
    except IndexError:
        raise node.fail(f"an index lies outside of the dim of {x.shape[axis]}") from None


def _counted(node: OnnxNode, index: Dim, dim: Dim) -> Dim:
    """An index from the front; that it lies inside of the dim is for the slice to check."""
    from_front = index + dim if index.is_constant and index.value < 0 else index
    beyond = from_front - dim
    if (beyond.is_constant and beyond.value >= 0) or (from_front.is_constant and from_front.value < 0):
        raise node.fail(f"index {index} is outside of the dim of {dim}")
    if not index.is_constant and not node.is_nonnegative(index):
        raise node.unsupported(f"the index {index} may be negative or not")
    return from_front


def _even_step(places: Sequence[Dim]) -> int | None:
    """The step from one place to the next where it is always the same number."""
    if len(places) < 2:
        return 1 if places else None
    steps = {b - a for a, b in pairwise(places)}
    only = steps.pop()
    return only.value if not steps and only.is_constant and only.value else None
