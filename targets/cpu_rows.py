"""The schedule of reductions along rows: lanes and several vectors of accumulators along the contiguous dim.

In: a reduction whose reads are contiguous along its last axis, and the target's facts.  Out: the passes that shape its
axes, as pipeline text.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.access import Access, Axis
from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.convert import Index
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.targets.cpu_contraction import packable
from headrace.targets.cpu_plan import Plan, is_linear, symbols

VECTORS = 4  # with accumulators of their own: an addition waits 4 cycles for the one before it
ROWS = 4  # results that share the vectors of a read they have in common


def reduces_rows(plan: Plan) -> bool:
    """Whether the last reduction axis can be lanes: every read is contiguous along it, or does not mention it."""
    op = plan.op
    if not isinstance(op, Reduce):
        return False
    axis = op.axes[-1]
    if axis.kind != "reduction" or (axis.extent.is_constant and axis.extent.value < 2):
        return False
    reads = [r for r in op.reads if axis.name in symbols(r)]
    formulas = [o.value for o in walk(op, Index)]
    return bool(reads) and all(in_line(r, axis.name) for r in reads) and all(is_linear(f, axis.name) for f in formulas)


def reads_vectors(plan: Plan) -> bool:
    """Whether a contraction's wide read lies in line along the vector axis, or can be packed so."""
    axis = plan.vector_axis()
    assert axis is not None
    wide = next(r for r in plan.op.reads if axis.name in symbols(r))
    return in_line(wide, axis.name) or packable(plan, axis.name) is not None


def row_reduction(plan: Plan) -> list[str]:
    """One task for each result, or for a few that share a read; lanes along the last reduction axis."""
    op = plan.op
    assert isinstance(op, Reduce)
    axis = op.axes[-1]
    loops, reductions = plan.names("parallel"), plan.names("reduction")
    row = shared_rows(op)
    steps, rows = list[str](), list[str]()
    if row is not None:
        steps.append(plan.step("tile", axis=row.name, by=ROWS))
        loops[loops.index(row.name)] = f"{row.name}_o"
        rows = [f"{row.name}_i"]
    more, spread = reduction_lanes(plan, axis)
    steps += more
    steps.append(plan.step("reorder", axes=[*loops, *reductions[:-1], f"{axis.name}_o", *rows, *spread]))
    if loops:
        steps.append(plan.step("bind", axes=loops, kind="task"))
    if rows:
        steps.append(plan.step("bind", axes=rows, kind="unroll"))
    steps.append(plan.step("bind-reduction", axes=spread))
    return steps


def rows_together(plans: Sequence[Plan]) -> list[str]:
    """For a kernel of rows: a few rows a task, whose reductions do not wait for one another; lanes along the row."""
    function = plans[0].function
    rows = function.block.operations[0]
    if not isinstance(rows, Parallel) or not all(p.op.parent is rows.body.block for p in plans):
        return []
    axis = rows.axes[-1]
    together = not axis.extent.is_constant or axis.extent.value >= ROWS
    if not together or not all(moves_by_rows(p, axis.name) for p in plans):
        return [s for p in plans for s in row_steps(p, None)]
    steps = [plans[0].step("block-rows", axis=axis.name, by=ROWS)]
    return steps + [s for n, p in enumerate(plans) for s in row_steps(p, f"{axis.name}_i{n}")]


def moves_by_rows(plan: Plan, row: str) -> bool:
    """Whether every formula moves by a constant from row to row."""
    formulas = [d for a in plan.accesses() for d in a.map.indices] + [o.value for o in walk(plan.op, Index)]
    return all(is_linear(f, row) for f in formulas)


def row_steps(plan: Plan, row: str | None) -> list[str]:
    """For one operation of a kernel of rows; `row`: the axis of the rows of a task, if there are several."""
    op = plan.op
    rows = [] if row is None else [row]
    others = [*rows, *plan.names("parallel")]
    if reduces_rows(plan):
        axis = op.axes[-1]
        steps, spread = reduction_lanes(plan, axis, len(rows) + 1)
        order = [*plan.names("parallel"), *plan.names("reduction")[:-1], f"{axis.name}_o", *rows, *spread]
        steps.append(plan.step("reorder", axes=order))
        if rows:
            steps.append(plan.step("bind", axes=rows, kind="unroll"))
        return [*steps, plan.step("bind-reduction", axes=spread)]
    vector = plan.vector_axis()
    if vector is None:
        return []
    others.remove(vector.name)
    lanes = plan.lanes()
    if not isinstance(op, Map):
        # A reduction along another dim than the fastest: lanes are results.
        order = [*others, f"{vector.name}_o", *(a.name for a in plan.reductions()), f"{vector.name}_i"]
        return [
            plan.step("tile", axis=vector.name, by=lanes),
            plan.step("reorder", axes=order),
            plan.step("bind", axes=[f"{vector.name}_i"], kind="vector"),
        ]
    vectors = strip_vectors(vector, lanes)
    steps = [plan.step("tile", axis=vector.name, by=vectors * lanes)]
    inner = [f"{vector.name}_i"]
    if vectors > 1:
        steps.append(plan.step("tile", axis=inner[0], by=lanes))
        inner = [f"{vector.name}_i_o", f"{vector.name}_i_i"]
    steps.append(plan.step("reorder", axes=[*others, f"{vector.name}_o", *inner]))
    if vectors > 1:
        steps.append(plan.step("bind", axes=inner[:-1], kind="unroll"))
    return [*steps, plan.step("bind", axes=inner[-1:], kind="vector")]


def shared_rows(op: Reduce) -> Axis | None:
    """The last parallel axis that one read varies along and another does not."""
    for axis in reversed(op.axes):
        mentions = [axis.name in symbols(r) for r in op.reads]
        wide = not axis.extent.is_constant or axis.extent.value >= ROWS
        if axis.kind == "parallel" and wide and any(mentions) and not all(mentions):
            plain = all(is_linear(d, axis.name) for r in op.reads for d in r.map.indices)
            return axis if plain and all(r.map.otherwise is None for r in op.reads) else None
    return None


def reduction_lanes(plan: Plan, axis: Axis, share: int = 1) -> tuple[list[str], list[str]]:
    """(steps that split a reduction axis into strips, vectors and lanes; the names of the last two).

    `share`: 2 where rows have sums of their own, too, so that half the vectors keep the machine busy.
    """
    lanes = plan.lanes()
    vectors = max(1, strip_vectors(axis, lanes) // share)
    steps = [plan.step("tile", axis=axis.name, by=vectors * lanes)]
    if vectors == 1:
        return steps, [f"{axis.name}_i"]
    steps.append(plan.step("tile", axis=f"{axis.name}_i", by=lanes))
    return steps, [f"{axis.name}_i_o", f"{axis.name}_i_i"]


def strip_vectors(axis: Axis, lanes: int) -> int:
    """Vectors of a strip: fewer where the row is short."""
    vectors = VECTORS
    if axis.extent.is_constant:
        while vectors > 1 and vectors * lanes > axis.extent.value:
            vectors //= 2
    return vectors


def in_line(access: Access, axis: str) -> bool:
    """Whether the last index moves by 1 with the axis, and the others do not."""
    *others, last = access.map.indices
    split = last.linear(axis)
    alone = not any(axis in d.symbols for d in others)
    return alone and split is not None and split[0] == Dim.constant(1)
