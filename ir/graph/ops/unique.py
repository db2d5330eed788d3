"""ONNX Unique: the different elements, or slices along an axis; where each is first, which one each is, how often.

The rows are sorted, equal ones are neighbours: a *group*, whose first row, the first in x too, stands for all.  How
many groups there are is counted when the model runs.  NaNs are equal to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from headrace.ir.core import Value
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import places_of
from headrace.ir.graph.families import accumulator
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.argsort import Argsort
from headrace.ir.graph.ops.cumulate import Cumulate
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.logic import And, Not, Or
from headrace.ir.graph.ops.nonzero import MISSING
from headrace.ir.graph.ops.scatter import Reduction, ScatterElements
from headrace.ir.types import BOOL, I64, U8


@onnx_import("Unique", since=11)
def _unique(node: OnnxNode) -> Sequence[Value]:
    x, given = Term(node, node.operand(0)), node.attribute("axis", MISSING)
    axis = 0 if given == MISSING else node.axis(given, x.rank)
    if given == MISSING:
        x = x.reshape(x.type.elements)
    rows = x.move(axis, 0)
    firsts, numbers, counts = _groups(node, rows.reshape(rows.dims[0], prod(rows.dims[1:], start=ONE)))
    if not node.attribute("sorted", 1):
        order = firsts.of(Argsort(firsts.reshape(1, *firsts.dims, 1).value)).reshape(*firsts.dims)
        numbers = _at(_put(order, order.indices(order.dims[0])), numbers)
        firsts, counts = _at(firsts, order), _at(counts, order)
    y = x.of(Gather(x.value, firsts.value, axis))
    return [y.value, firsts.value, numbers.value, counts.value]


def _groups(node: OnnxNode, rows: Term) -> tuple[Term, Term, Term]:
    """The first row of each group, in ascending order of what they are; the group of each row; how many are in each."""
    keys, (count, columns) = rows.cast(U8 if rows.dtype == BOOL else accumulator(rows.dtype)), rows.dims
    order = keys.of(Argsort(keys.reshape(1, count, columns).value)).reshape(count)
    places = order.indices(count)
    one, other = (_at(_at(keys, order), p) for p in (places, (places - 1).at_least(0)))
    equal = one.compare("eq", other)
    if keys.dtype.is_float:
        both = equal.of(And(one.compare("ne", one).value, other.compare("ne", other).value))
        equal = equal.of(Or(equal.value, both.value))
    differs = equal.of(Not(equal.value)).reduce("max", (1,), keepdims=False)
    starts = differs.of(Or(differs.value, places.compare("eq", 0).value))
    number = starts.cast(I64)
    number = number.of(Cumulate(number.value, "sum", 0)) - 1  # of the group of each row in order
    groups = places_of(node, starts, f"{node.name}_count")
    ones = places.of(Fill((count,), 1, I64))
    sizes = _put(number, ones, "add")
    return _at(order, groups), _put(order, number), _at(sizes, _at(number, groups))


def _at(x: Term, places: Term) -> Term:
    """Elements or rows."""
    return x.of(Gather(x.value, places.value, 0))


def _put(places: Term, numbers: Term, reduction: Reduction = "none") -> Term:
    """The numbers at these places, 0 elsewhere."""
    zeros = numbers.of(Fill(numbers.dims, 0, I64))
    return numbers.of(ScatterElements(zeros.value, places.value, numbers.value, 0, reduction))
