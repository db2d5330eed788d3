"""Axes that are data: what a node does along axes that it reads when the model runs.

In: the node, the number of the input that holds the axes.  Out: operations whose ranks are static:

    mask = axes_mask(node, 1, x.rank)        # i64[rank]: 1 at these axes, else 0
    x = parted(node, x, mask)                # [o0, r0, o1, r1, ...]: reduce these axes by reducing the odd ones
    dims = kept_dims(node, x.dims, mask, 2)  # i64[2]: the dims at the other axes, in order

Each dim d of x becomes two, (1, d) where the mask is 1 and (d, 1) where it is 0: other dims on the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim, dim_max
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import formulas
from headrace.ir.graph.families import tensor
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.cumulate import Cumulate
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.reshape_dynamic import ReshapeDynamic
from headrace.ir.types import I64


def axes_mask(node: OnnxNode, number: int, rank: int, *, all_if_none: bool = False) -> Term:
    """i64[rank]: 1 at the axes, which may be counted from the end, else 0; 1 everywhere where there are none and
    `all_if_none` says so.  An axis out of range is an error of the data.
    """
    axes = Term(node, node.operand(number)).reshape(count(node, number))
    numbers = Term(node, node.add_constant(np.arange(rank, dtype=np.int64)))
    named = numbers.of(Gather(numbers.value, axes.value, 0)).reshape(*axes.dims, 1)
    mask = named.compare("eq", numbers).reduce("max", (0,), keepdims=False).cast(I64)
    return mask + formulas(node, [dim_max(1 - count(node, number), 0)]) if all_if_none else mask


def integers(node: OnnxNode, number: int) -> Term:
    """An input as i64 of one dim."""
    return Term(node, node.operand(number)).cast(I64).reshape(count(node, number))


def by_dim(node: OnnxNode, axes: Term, rank: int) -> Callable[[Term, Term], Term]:
    """What an i64[k], one for each of the axes, i64[k], and an i64[rank] for the other dims are together, i64[rank]."""
    numbers = axes.indices(Dim.constant(rank))
    from_front = numbers.of(Gather(numbers.value, axes.value, 0))  # and an error unless in range
    hits = from_front.reshape(*axes.dims, 1).compare("eq", numbers)
    is_named = hits.reduce("max", (0,), keepdims=False)

    def of_dims(given: Term, otherwise: Term) -> Term:
        column = given.reshape(*axes.dims, 1)
        return is_named.where(hits.where(column, column.like(0)).reduce("sum", (0,), keepdims=False), otherwise)

    return of_dims


def count(node: OnnxNode, number: int) -> Dim:
    """How many axes there are."""
    return node.tensor(number).elements


def parted(node: OnnxNode, x: Value, mask: Term) -> Term:
    """x under dims twice as many."""
    dims = formulas(node, tensor(x).dims)
    apart = mask * (dims - 1)
    pairs = [part.reshape(len(tensor(x).dims), 1).value for part in (dims - apart, apart + 1)]
    return reshaped_as(node, x, mask.of(Concat(tuple(pairs), 1)).reshape(2 * tensor(x).rank))


def kept_dims(node: OnnxNode, dims: Sequence[Dim], mask: Term, kept: int) -> Term:
    """i64[kept]: the dims at which the mask is 0."""
    others = 1 - mask
    place = mask.of(Cumulate(others.value, "sum", 0)) * others - 1  # among the kept ones; -1 for no place
    wanted = Term(node, node.add_constant(np.arange(kept, dtype=np.int64).reshape(kept, 1)))
    of_all = formulas(node, dims)
    return wanted.compare("eq", place).where(of_all, of_all.like(0)).reduce("sum", (1,), keepdims=False)


def inserted_dims(node: OnnxNode, dims: Sequence[Dim], mask: Term) -> Term:
    """i64: 1 where the mask is 1, and the dims, in order, elsewhere."""
    others = 1 - mask
    place = (mask.of(Cumulate(others.value, "sum", 0)) * others - 1).reshape(mask.dims[0], 1)
    numbers = Term(node, node.add_constant(np.arange(len(dims), dtype=np.int64)))
    of_all = formulas(node, dims)
    return numbers.compare("eq", place).where(of_all, of_all.like(0)).reduce("sum", (1,), keepdims=False) + mask


def reshaped_as(node: OnnxNode, x: Value, dims: Term) -> Term:
    """x under dims that are data."""
    symbols = tuple(node.symbol(f"{node.name}_{i}") for i in range(dims.dims[0].value))
    return dims.of(ReshapeDynamic(x, dims.value, symbols))
