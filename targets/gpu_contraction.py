"""Contractions on GPUs: tiles of both operands in shared memory, a register tile for each thread.

In: the plan of a reduction.  Out: the passes that shape it, as pipeline text.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from headrace.ir.access import Axis
from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.convert import Holds, Index
from headrace.ir.kernel.ops.structured import Reduce
from headrace.targets.cpu_contraction import peeled
from headrace.targets.cpu_plan import Plan, symbols

WIDEST = 256  # results of a workgroup along one axis
DEEPEST = 16  # of what is in shared memory at a time


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
    *others, last = plan.reductions()
    batch = [a.name for a in plan.op.axes if a.kind == "parallel" and a not in (rows, columns)]
    tile = shape(plan, rows, columns)
    depth = power_below(last, tile.depth)
    steps, threads, registers = list[str](), list[str](), list[str]()
    for axis, side, own in ((rows, tile.rows, tile.own_rows), (columns, tile.columns, tile.own_columns)):
        steps.append(plan.step("tile", axis=axis.name, by=side))
        steps.append(plan.step("tile", axis=f"{axis.name}_i", by=own))
        threads.append(f"{axis.name}_i_o")
        registers.append(f"{axis.name}_i_i")
    steps.append(plan.step("tile", axis=last.name, by=depth))
    grid = [*batch, f"{rows.name}_o", f"{columns.name}_o"]
    turns, inner = [*(a.name for a in others), f"{last.name}_o"], f"{last.name}_i"
    steps.append(plan.step("reorder", axes=[*grid, *threads, *turns, inner, *registers]))
    steps.append(plan.step("bind", axes=grid, kind="grid"))
    steps.append(plan.step("bind", axes=threads, kind="thread"))
    steps.append(plan.step("bind", axes=[inner], kind="reduction_unroll"))
    by_vector = plan.vector_axis() is columns and tile.own_columns > 1
    steps.append(plan.step("bind", axes=registers[: 1 if by_vector else 2], kind="unroll"))
    if by_vector:
        steps.append(plan.step("bind", axes=registers[1:], kind="vector"))
    steps.append(plan.step("enclose", axes=grid))
    steps.append(plan.step("enclose", axes=threads))
    steps.append(plan.step("accumulate", axes=turns))
    steps.append(plan.step("stage-shared", axis=inner, reads=[0, 1], lanes=plan.lanes()))
    steps.append(plan.step("double-buffer", axis=turns[-1]))
    left = peeled(last.extent, depth)
    if left:
        steps.append(plan.step("peel", axis=inner, sizes=left))
    return steps


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a tile of results: what a workgroup has, what each of its threads has of that, and how many terms at a time."""

    rows: int
    columns: int
    own_rows: int
    own_columns: int
    depth: int


def shape(plan: Plan, rows: Axis, columns: Axis) -> Shape:
    """A square for each thread and of threads, as far as the extents allow; a short side makes the other one longer."""
    facts = plan.facts
    own = 1
    while 4 * own * own * plan.bytes() <= facts.vector_bytes * facts.vector_registers // 2:
        own *= 2
    side = isqrt(facts.group_threads)
    high, wide = (power_below(a, own * side) for a in (rows, columns))
    threads = [max(1, n // own) for n in (high, wide)]
    if threads[0] < side:
        wide = power_below(columns, min(WIDEST, facts.group_threads // threads[0] * own))
    elif threads[1] < side:
        high = power_below(rows, min(WIDEST, facts.group_threads // threads[1] * own))
    depth = DEEPEST
    while depth > 1 and 2 * (high + wide) * depth * plan.bytes() > facts.shared_bytes // 2:
        depth //= 2
    return Shape(high, wide, min(own, high), min(own, wide), depth)


def power_below(axis: Axis, most: int) -> int:
    """`most`, or the first power of two that covers a short axis."""
    if not axis.extent.is_constant:
        return most
    return min(most, 1 << max(axis.extent.value - 1, 0).bit_length())


def _rises(formula: Dim, axis: str) -> bool:
    split = formula.linear(axis)
    return split is not None and split[0].is_constant and split[0].value >= 0
