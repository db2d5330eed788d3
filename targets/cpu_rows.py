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
from headrace.targets.cpu_contraction import BUSY, packable
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
    if reduces_rows(plan):
        return _along_row(plan, row)
    vector = plan.vector_axis()
    if vector is None:
        return []
    v = plan.called(vector)
    others = [*([] if row is None else [row]), *(n for n in plan.names("parallel") if n != v)]
    lanes = plan.lanes()
    # A reduction along another dim than the fastest: lanes are results, as many as keep multiply-adds busy.
    most = VECTORS if isinstance(plan.op, Map) else BUSY
    vectors = strip_vectors(vector, lanes, most)
    steps = [plan.step("tile", axis=v, by=vectors * lanes)]
    inner = [f"{v}_i"]
    if vectors > 1:
        steps.append(plan.step("tile", axis=inner[0], by=lanes))
        inner = [f"{v}_i_o", f"{v}_i_i"]
    steps.append(plan.step("reorder", axes=[*others, f"{v}_o", *map(plan.called, plan.reductions()), *inner]))
    if vectors > 1:
        steps.append(plan.step("bind", axes=inner[:-1], kind="unroll"))
    return [*steps, plan.step("bind", axes=inner[-1:], kind="vector")]


def _along_row(plan: Plan, row: str | None) -> list[str]:
    """A reduction whose last axis is lanes; results that share a read, or rows, wait together."""
    op = plan.op
    assert isinstance(op, Reduce)
    axis, loops = op.axes[-1], plan.names("parallel")
    together, steps = [] if row is None else [row], list[str]()
    shared = shared_rows(op) if row is None else None
    if shared is not None:
        steps.append(plan.step("tile", axis=plan.called(shared), by=ROWS))
        loops[loops.index(plan.called(shared))] += "_o"
        together = [f"{plan.called(shared)}_i"]
    more, spread = reduction_lanes(plan, axis, len(together) + 1)
    steps += more
    order = [*loops, *plan.names("reduction")[:-1], f"{plan.called(axis)}_o", *together, *spread]
    steps.append(plan.step("reorder", axes=order))
    if together:
        steps.append(plan.step("bind", axes=together, kind="unroll"))
    return [*steps, plan.step("bind-reduction", axes=spread)]


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
    lanes, name = plan.lanes(), plan.called(axis)
    vectors = max(1, strip_vectors(axis, lanes, VECTORS) // share)
    steps = [plan.step("tile", axis=name, by=vectors * lanes)]
    if vectors == 1:
        return steps, [f"{name}_i"]
    steps.append(plan.step("tile", axis=f"{name}_i", by=lanes))
    return steps, [f"{name}_i_o", f"{name}_i_i"]


def strip_vectors(axis: Axis, lanes: int, most: int) -> int:
    """Vectors of a strip, a power of two: fewer where the row is short."""
    vectors = most
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
