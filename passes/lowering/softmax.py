"""A kernel of rows that weighs the rows of a matrix by a softmax: which of its operations does what.

    kernel.parallel (i: task m) {
      kernel.reduce (j: parallel n, k: reduction 64) ... writes(%s[j])    // scores
      kernel.reduce (r: reduction n) reads(%s[r]) writes(%m[0])    // the greatest one
      kernel.map (j_1: parallel n) reads(%s[j_1], %m[0]) writes(%s[j_1])    // weights: e to the difference
      kernel.reduce (r_1: reduction n) reads(%s[r_1]) writes(%l[0])    // their sum
      kernel.reduce (d: parallel 64, j_2: reduction n) reads(%s[j_2], %v[j_2, d]) late(%l[0]) writes(%y[i, d])
    }

In: a function.  Out: these five, or None where the kernel is another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

from headrace.ir.access import Access, Axis
from headrace.ir.core import Operation, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.convert import Constant
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.scalar import Add, ExpNonpositive, Max, MulAdd, Sub
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.passes.lowering.names import Names

ZERO = Dim.constant(0)


class Online(IntEnum):
    """The operations that `kernel.online-softmax` leaves, numbered in their order, as `kernel.block-rows` does."""

    NO_MOST = 0
    NO_TOTAL = auto()
    NO_RESULTS = auto()
    SCORES = auto()  # from here to PRODUCT for each block of columns
    MOST_BEFORE = auto()
    GREATEST = auto()
    SCALE = auto()
    WEIGHTS = auto()
    TOTAL = auto()
    PRODUCT = auto()
    RECIPROCAL = auto()
    RESULTS = auto()


@dataclass(frozen=True, slots=True)
class RowSoftmax:
    """The operations, in order."""

    rows: Parallel
    scores: Reduce
    greatest: Reduce
    weights: Map
    total: Reduce
    product: Reduce

    @property
    def column(self) -> Axis:
        """The scores' axis."""
        return next(a for a in self.scores.axes if a.kind == "parallel")

    @property
    def results(self) -> list[Axis]:
        """The axes of the product's results."""
        return [a for a in self.product.axes if a.kind == "parallel"]

    @property
    def added(self) -> Axis:
        """The axis that the product sums over."""
        return next(a for a in self.product.axes if a.kind == "reduction")

    def new_names(self, function: KernelFunc) -> tuple[str, list[str], list[str]]:
        """What `kernel.online-softmax` calls its loop, the results' axes before it, and those behind it."""
        names = Names(function)
        loop = names.fresh(f"{self.column.name}_t")
        before, behind = ([names.fresh(f"{a.name}_{end}") for a in self.results] for end in ("s", "f"))
        return loop, before, behind


def row_softmax(function: KernelFunc) -> RowSoftmax | None:
    """Finds them."""
    body = function.block.operations
    rows = body[0] if len(body) == 1 else None
    if not isinstance(rows, Parallel):
        return None
    match [o for o in rows.body.block.operations if not isinstance(o, Alloc)]:
        case [Reduce() as scores, Reduce() as greatest, Map() as weights, Reduce() as total, Reduce() as product]:
            found = RowSoftmax(rows, scores, greatest, weights, total, product)
        case _:
            return None
    plain = all(not o.attributes["where"] for o in (scores, greatest, weights, total, product))
    return found if plain and _is_chain(found) and _is_softmax(found) else None


def _is_chain(found: RowSoftmax) -> bool:
    """Whether each operation reads what the one before it wrote, along one axis of the same extent."""
    columns = [a for a in found.scores.axes if a.kind == "parallel"]
    added = [a for a in found.product.axes if a.kind == "reduction"]
    lists: list[Sequence[Axis]] = [columns, found.greatest.axes, found.weights.axes, found.total.axes, added]
    if any(len(axes) != 1 or axes[0].extent != columns[0].extent for axes in lists):
        return False
    column, greatest, weights, total, last = (axes[0].name for axes in lists)
    scores, most, sum_ = found.scores.writes[0], found.greatest.writes[0], found.total.writes[0]
    weighed = found.weights.writes[0]
    chain = [
        (scores, scores.value, column), (found.greatest.reads[0], scores.value, greatest),
        (found.weights.reads[0], scores.value, weights), (weighed, weighed.value, weights),
        (found.total.reads[0], weighed.value, total),
    ]  # fmt: skip
    if not all(_is_at(access, buffer, Dim.symbol(axis)) for access, buffer, axis in chain):
        return False
    single = [(most, most.value), (found.weights.reads[1], most.value), (sum_, sum_.value)]
    factors = [r for r in found.product.reads if _is_at(r, weighed.value, Dim.symbol(last))]
    once = len(found.greatest.reads) == len(found.total.reads) == 1 and len(found.weights.reads) == 2
    late = not found.greatest.late and not found.total.late
    ends = [a for a in found.product.late if a.value is sum_.value]
    return (
        once and late and len(factors) == 1 and len(found.product.reads) == 2
        and all(_is_at(access, buffer, ZERO) for access, buffer in [*single, *((a, sum_.value) for a in ends)])
    )  # fmt: skip


def _is_at(access: Access, buffer: Value, index: Dim) -> bool:
    return access.value is buffer and access.map.indices == (index,) and access.map.otherwise is None


def _is_softmax(found: RowSoftmax) -> bool:
    inner = found.weights.body.block
    difference, power = (*inner.body, None, None)[:2]
    exponential = (
        isinstance(difference, Sub) and isinstance(power, ExpNonpositive) and len(inner.body) == 2
        and tuple(difference.operands) == tuple(inner.arguments) and power.x is difference.result
        and tuple(inner.terminator.operands) == (power.result,)
    )  # fmt: skip
    return (
        exponential
        and _starts_at(found.greatest.init, float("-inf")) and _only(found.greatest.step, Max)
        and not found.greatest.finish.block.body
        and _starts_at(found.total.init, 0.0) and _only(found.total.step, Add)
        and _starts_at(found.product.init, 0.0) and _only(found.product.step, MulAdd)
    )  # fmt: skip


def _starts_at(region: Region, value: float) -> bool:
    operations = region.block.body
    return len(operations) == 1 and isinstance(operations[0], Constant) and operations[0].value == value


def _only(region: Region, kind: type[Operation]) -> bool:
    """Whether one operation on all arguments is what the region yields; the accumulator is added last."""
    operations, arguments = region.block.body, region.block.arguments
    if len(operations) != 1 or not isinstance(operations[0], kind):
        return False
    given = operations[0].operands
    last = kind is not MulAdd or given[2] is arguments[2]
    return set(given) == set(arguments) and len(given) == len(arguments) and last
