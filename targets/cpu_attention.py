"""The schedule of kernels of rows with products: attention.

In: the operations of such a kernel, in order, and the target's facts.  Out: the passes that shape them, as pipeline
text.  A task does as many rows as two vectors have lanes, and rows are lanes until the last product: scores, maxima and
exponentials need no folds and no masks, whatever the length of the row.  The last product has lanes along its own rows,
and takes its factors from the scores as they lie, a column of rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.ir.access import Axis
from headrace.ir.core import contains
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.kernel.ops.structured import Reduce
from headrace.passes.lowering.names import Names
from headrace.targets.cpu_contraction import peeled
from headrace.targets.cpu_plan import Plan, symbols
from headrace.targets.cpu_rows import moves_by_rows, row_steps

VECTORS = 2  # of rows in a task
FEW = 4  # times as many rows make a task: so few, or less, are faster one by one
COLUMNS = {16: 6, 32: 12}  # of scores in a register tile, by number of vector registers
HEIGHT = {16: 6, 32: 8}  # rows in a register tile of the last product


def is_attention(plans: Sequence[Plan]) -> bool:
    """Whether a kernel of rows multiplies rows with matrices."""
    rows = plans[0].function.block.operations[0]
    if not isinstance(rows, Parallel) or not any(_is_product(p) for p in plans):
        return False
    row = rows.axes[-1].name
    if not all(p.op.parent is rows.body.block and moves_by_rows(p, row) for p in plans):
        return False
    # A product over one element has none to copy into lanes, and a window that hangs over an edge is no copy.
    staged = [(p.op.reads[number], axes) for p in plans for number, axes in _staged(p, row).items()]
    return all(axes and read.map.otherwise is None for read, axes in staged)


def attention(plans: Sequence[Plan]) -> list[str]:
    """Rows that are read from memory are copied into lanes first."""
    rows = plans[0].function.block.operations[0]
    assert isinstance(rows, Parallel)
    row, lanes = rows.axes[-1], min(p.lanes() for p in plans)
    block = VECTORS * lanes
    if row.extent.is_constant and row.extent.value * FEW <= block:
        return [s for p in plans for s in row_steps(p, None)]
    steps = list[str]()
    numbered: list[_Step] = []
    names = Names(plans[0].function)  # those that `kernel.stage` will find
    for plan in plans:
        for number, axes in _staged(plan, row.name).items():
            steps.append(plan.step("stage", axis=axes[-1].name, read=number))
            numbered.append(_Step(plan, [Axis(names.fresh(f"{a.name}_s"), "parallel", a.extent) for a in axes]))
        numbered.append(_Step(plan, None))
    few = block // FEW if _may_be_few(row.extent, block) else 0
    steps.append(plans[0].step("block-rows", axis=row.name, by=block, innermost=True, few=few))
    for number, step in enumerate(numbered):
        steps += step.steps(f"{row.name}_i{number}", lanes)
    return steps + [s for n in numbered if few for s in n.alone(lanes)]


def _may_be_few(rows: Dim, block: int) -> bool:
    return not rows.is_constant or 0 < rows.value % block <= block // FEW


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation of the kernel; `copied`: the axes of a copy for it, if it is one."""

    plan: Plan
    copied: list[Axis] | None

    def steps(self, row: str, lanes: int) -> list[str]:
        plan = self.plan
        if self.copied is not None:
            return self._copy(row, lanes, self.copied)
        if _is_product(plan) and _is_last(plan):
            return self._last_product(row, lanes)
        inner = [f"{row}_o", f"{row}_i"]
        steps = [plan.step("tile", axis=row, by=lanes)]
        loops, reductions, unrolled = plan.names("parallel"), [a.name for a in plan.reductions()], inner[:-1]
        peel = list[str]()
        if _is_product(plan):
            column = plan.op.axis(loops[-1])
            by = COLUMNS[_registers(plan)]
            steps.append(plan.step("tile", axis=column.name, by=by))
            loops, unrolled = [*loops[:-1], f"{column.name}_o"], [f"{column.name}_i", *unrolled]
            sizes = peeled(column.extent, by)
            peel = [plan.step("peel", axis=f"{column.name}_i", sizes=sizes)] if sizes else []
        steps.append(plan.step("reorder", axes=[*loops, *reductions, *unrolled, inner[-1]]))
        steps.append(plan.step("bind", axes=unrolled, kind="unroll"))
        return [*steps, plan.step("bind", axes=inner[-1:], kind="vector"), *peel]

    def alone(self, lanes: int) -> list[str]:
        """The same for one row by itself."""
        plan = replace(self.plan, version=1)
        if self.copied is None:
            return row_steps(plan, None)
        *others, last = (plan.called(a) for a in self.copied)
        return self._lanes_along(last, others, lanes)

    def _copy(self, row: str, lanes: int, axes: Sequence[Axis]) -> list[str]:
        """Lanes along the rows as they lie in memory; they go apart when they are stored."""
        *others, last = (a.name for a in axes)
        return self._lanes_along(last, [row, *others], lanes)

    def _lanes_along(self, last: str, others: Sequence[str], lanes: int) -> list[str]:
        plan = self.plan
        return [
            plan.step("tile", axis=last, by=lanes),
            plan.step("reorder", axes=[*others, f"{last}_o", f"{last}_i"]),
            plan.step("bind", axes=[f"{last}_i"], kind="vector"),
        ]

    def _last_product(self, row: str, lanes: int) -> list[str]:
        plan = self.plan
        *others, vector = plan.names("parallel")
        steps = [
            plan.step("tile", axis=vector, by=2 * lanes),
            plan.step("tile", axis=f"{vector}_i", by=lanes),
            plan.step("tile", axis=row, by=HEIGHT[_registers(plan)]),
        ]
        reductions = [a.name for a in plan.reductions()]
        unrolled = [f"{row}_i", f"{vector}_i_o"]
        order = [*others, f"{vector}_o", f"{row}_o", *reductions, *unrolled, f"{vector}_i_i"]
        steps.append(plan.step("reorder", axes=order))
        steps.append(plan.step("bind", axes=unrolled, kind="unroll"))
        steps.append(plan.step("bind", axes=[f"{vector}_i_i"], kind="vector"))
        sizes = peeled(Dim.constant(VECTORS * lanes), HEIGHT[_registers(plan)])
        return [*steps, plan.step("peel", axis=f"{row}_i", sizes=sizes)] if sizes else steps


def _registers(plan: Plan) -> int:
    return 32 if plan.facts.vector_registers >= 32 else 16


def _is_product(plan: Plan) -> bool:
    op = plan.op
    return isinstance(op, Reduce) and bool(plan.names("parallel")) and contains(op, MulAdd)


def _staged(plan: Plan, row: str) -> dict[int, list[Axis]]:
    """The reads of rows that a product takes its factors from, by number, each with the operation's axes in it."""
    if not _is_product(plan) or _is_last(plan):
        return {}
    reads = [(number, symbols(read)) for number, read in enumerate(plan.op.reads)]
    return {number: [a for a in plan.op.axes if a.name in found] for number, found in reads if row in found}


def _is_last(plan: Plan) -> bool:
    """Whether it writes the kernel's result."""
    return plan.op.writes[0].value in plan.function.written
