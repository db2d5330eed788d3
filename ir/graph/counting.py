"""Sizes that are data: tensors with as many elements as the model counts when it runs.

In: a node, and an i64[1] that it computes.  Out: operations; the size is a symbol of its own, read there:

    many = first_numbers(node, count, "n")     # i64[n]: 0, 1, ... n - 1
    many = first_numbers(node, count, "n", [(step.compare("eq", 0), "the step is 0")])    # or that error
    places = places_of(node, mask, "n")        # i64[n]: where a bool[m] is true, ascending

Whoever counts does so exactly: what wraps would be another size, and no error.  `beyond` says what does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.ops.cumulate import Cumulate
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.range_dynamic import RangeDynamic
from headrace.ir.graph.ops.scatter import ScatterElements
from headrace.ir.graph.ops.top_k import TakeDynamic
from headrace.ir.types import I64, DType

MOST = 2**63 - 1  # that a size may be
TOO_FEW = "a dim of the result would be below 0"
TOO_MANY = f"a dim of the result would be above {MOST}"

Problem = tuple[Term, str]  # a bool[1], and the error where it is true


def formulas(node: OnnxNode, values: Sequence[Dim]) -> Term:
    """i64 of these."""
    return Term(node, node.add(Formulas(tuple(values), (len(values),))))


def first_numbers(node: OnnxNode, count: Term, wish: str, problems: Sequence[Problem] = (), dtype: DType = I64) -> Term:
    """The numbers below `count`, i64[1]; one below 0 is an error when the model runs, and so is the first problem that
    is there."""
    symbol = node.symbol(wish)
    if not problems:
        return count.of(RangeDynamic(count.value, None, symbol, dtype))
    which = count * 0
    for number, (holds, _) in reversed(list(enumerate(problems, 1))):
        which = holds.where(number, which)
    count = which.compare("eq", 0).where(count, count.like(0))
    messages = tuple(message for _, message in problems)
    return count.of(RangeDynamic(count.value, which.value, symbol, dtype, node.symbol(f"{wish}_problem"), messages))


def beyond(a: Term, b: Term) -> Term:
    """Where the sum of two i64 is too large for one."""
    return a.compare("gt", MOST - b.at_least(0))


def places_of(node: OnnxNode, mask: Term, wish: str) -> Term:
    """Where a bool of one dim is true: each such place is put at the number of those before it."""
    (size,) = mask.dims
    is_true = mask.cast(I64)
    before = is_true.of(Cumulate(is_true.value, "sum", 0, exclusive=True))
    beyond = formulas(node, [size])  # where the others go
    room = Term(node, node.add(Fill((size + 1,), 0, I64)))
    target = mask.where(before, beyond.expand(size))
    numbers = is_true.indices(size)
    put = room.of(ScatterElements(room.value, target.value, numbers.value, 0))
    count = is_true.reduce("sum", (0,))
    return put.of(TakeDynamic(put.value, count.value, 0, node.symbol(wish)))
