"""Contractions on GPUs: tiles of both operands in shared memory, a register tile for each thread.

In: the plan of a reduction.  Out: the passes that shape it, as pipeline text.
"""

from __future__ import annotations

from headrace.ir.access import Axis
from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.convert import Holds, Index
from headrace.ir.kernel.ops.structured import Reduce
from headrace.targets.cpu_plan import Plan, symbols

REGISTERS = 4  # results of a thread along each of the two axes
SIDE = 16  # threads along each of them
DEPTH = 16  # of what is in shared memory at a time


def tiled_axes(plan: Plan) -> tuple[Axis, Axis] | None:
    """The last axis that one read moves along, and the last that the other does; None if there is no reuse."""
    op = plan.op
    if not isinstance(op, Reduce) or len(op.reads) != 2 or any(walk(op, Index)) or any(walk(op, Holds)):
        return None
    *_, last = op.axes
    alone: list[Axis] = []
    for read, other in (op.reads, op.reads[::-1]):
        own = [a for a in op.axes if a.kind == "parallel" and a.name in symbols(read) - symbols(other)]
        alone += own[-1:]
    local = [*alone, last]
    linear = all(_rises(d, a.name) for r in op.reads for d in r.map.indices for a in local)
    if len(alone) < 2 or last.kind != "reduction" or not linear:
        return None
    rows, columns = sorted(alone, key=op.axes.index)
    return rows, columns


def contraction(plan: Plan, rows: Axis, columns: Axis) -> list[str]:
    """A workgroup for each tile of results; all its threads go through the reduction together."""
    op = plan.op
    *others, last = plan.reductions()
    batch = [a.name for a in op.axes if a.kind == "parallel" and a not in (rows, columns)]
    steps, threads, registers = list[str](), list[str](), list[str]()
    for axis in (rows, columns):
        side = power_below(axis, SIDE * REGISTERS)
        steps.append(plan.step("tile", axis=axis.name, by=side))
        steps.append(plan.step("tile", axis=f"{axis.name}_i", by=min(REGISTERS, side)))
        threads.append(f"{axis.name}_i_o")
        registers.append(f"{axis.name}_i_i")
    steps.append(plan.step("tile", axis=last.name, by=power_below(last, DEPTH)))
    grid = [*batch, f"{rows.name}_o", f"{columns.name}_o"]
    turns = [*(a.name for a in others), f"{last.name}_o"]
    steps.append(plan.step("reorder", axes=[*grid, *threads, *turns, f"{last.name}_i", *registers]))
    steps.append(plan.step("bind", axes=grid, kind="grid"))
    steps.append(plan.step("bind", axes=threads, kind="thread"))
    by_vector = plan.vector_axis() is columns
    steps.append(plan.step("bind", axes=registers[: 1 if by_vector else 2], kind="unroll"))
    if by_vector:
        steps.append(plan.step("bind", axes=registers[1:], kind="vector"))
    steps.append(plan.step("enclose", axes=grid))
    steps.append(plan.step("enclose", axes=threads))
    steps.append(plan.step("accumulate", axes=turns))
    steps.append(plan.step("stage-shared", axis=f"{last.name}_i", reads=[0, 1]))
    steps.append(plan.step("double-buffer", axis=turns[-1]))
    return steps


def power_below(axis: Axis, most: int) -> int:
    """`most`, or the first power of two that covers a short axis."""
    if not axis.extent.is_constant:
        return most
    return min(most, 1 << max(axis.extent.value - 1, 0).bit_length())


def _rises(formula: Dim, axis: str) -> bool:
    split = formula.linear(axis)
    return split is not None and split[0].is_constant and split[0].value >= 0
