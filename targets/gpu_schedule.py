"""The schedule of GPUs: which axes become workgroups, threads, registers and lanes.

In: a structured kernel and the target's facts.  Out: the passes that shape its axes, as pipeline text.  A kernel of
rows gets a workgroup for each row, as does a reduction along one; contractions have a file of their own; any other
single operation gets a thread for each result or vector of results.  What is written as loops (a recurrent layer, a
scan) is right, but slow: each of its tasks is one thread.  Without shared memory, as where an OpenCL device is a CPU,
the schedule is that of CPUs.
"""

from __future__ import annotations

from headrace.ir.access import Axis
from headrace.ir.core import walk
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.kernel.tasks import task_axes
from headrace.targets.cpu_plan import Plan
from headrace.targets.cpu_rows import reduces_rows
from headrace.targets.cpu_schedule import schedule as cpu_schedule
from headrace.targets.gpu_attention import attention
from headrace.targets.gpu_contraction import contraction, power_below, tiled_axes


def schedule(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """The steps for one kernel."""
    if not facts.shared_bytes:
        return as_on_cpu(function, facts)
    plans = [Plan(function, op, facts) for op in walk(function, Structured)]
    if plans and is_rows(function):
        return attention(function, facts) or rows_of_groups(plans)
    if len(plans) != 1 or plans[0].op.parent is not function.block:
        return tasks_as_groups(function)
    (plan,) = plans
    tiled = tiled_axes(plan)
    if tiled is not None:
        return contraction(plan, tiled)
    if reduces_rows(plan) and plan.names("parallel"):
        return row_by_group(plan)
    return result_by_thread(plan)


def as_on_cpu(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """For a device that is a CPU, where threads of a workgroup only take turns: each task is a workgroup of one."""
    steps = [s.replace("kind=task}", "kind=grid}") for s in cpu_schedule(function, facts)]
    return tasks_as_groups(function) + steps


def tasks_as_groups(function: KernelFunc) -> list[str]:
    """The loop over tasks as one over workgroups."""
    axes = " ".join(a.name for a in task_axes(function))
    return [f"kernel.bind{{func={function.function_name} axes=[{axes}] kind=grid}}"] if axes else []


def is_rows(function: KernelFunc) -> bool:
    """Whether the body is one loop over rows, of structured operations and allocations."""
    body = function.block.operations
    rows = body[0] if len(body) == 1 else None
    if not isinstance(rows, Parallel) or any(a.kind not in ("task", "grid") for a in rows.axes):
        return False
    return all(isinstance(o, Alloc | Map | Reduce) for o in rows.body.block.operations)


# ---- one operation -------------------------------------------------------------------------------------------------


def result_by_thread(plan: Plan) -> list[str]:
    """Neighbouring threads have neighbouring results, or vectors of them; reductions run within a thread."""
    op = plan.op
    loops, inside = plan.names("parallel"), [*plan.names("sequential"), *(a.name for a in plan.reductions())]
    if not loops:
        return [plan.step("one-thread")]
    axis = op.axis(loops[-1])
    steps, thread, last = tiles(plan, axis)
    grid = [*loops[:-1], f"{axis.name}_o"]
    steps.append(plan.step("reorder", axes=[*grid, thread, *inside, *last]))
    steps.append(plan.step("bind", axes=grid, kind="grid"))
    steps.append(plan.step("bind", axes=[thread], kind="thread"))
    if last:
        steps.append(plan.step("bind", axes=last, kind="vector"))
    return steps


def tiles(plan: Plan, axis: Axis) -> tuple[list[str], str, list[str]]:
    """(steps that split an axis into turns, threads and lanes; the threads' axis; the lanes' axis, if there is one)."""
    in_lanes = plan.vector_axis() is axis and not plan.names("sequential")
    lanes = plan.lanes() if in_lanes else 1
    by = power_below(axis, plan.facts.group_threads * lanes)
    lanes = min(lanes, by)
    steps = [plan.step("tile", axis=axis.name, by=by)]
    if lanes == 1:
        return steps, f"{axis.name}_i", []
    steps.append(plan.step("tile", axis=f"{axis.name}_i", by=lanes))
    return steps, f"{axis.name}_i_o", [f"{axis.name}_i_i"]


def row_by_group(plan: Plan) -> list[str]:
    """A reduction along rows: a workgroup for each, whose threads have sums of their own."""
    grid = plan.names("parallel")
    steps = [plan.step("bind", axes=grid, kind="grid"), plan.step("enclose", axes=grid)]
    return steps + sum_by_threads(plan)


def sum_by_threads(plan: Plan) -> list[str]:
    """The steps for a reduction inside of a loop over workgroups."""
    *others, last = plan.reductions()
    by = power_below(last, plan.facts.group_threads)
    order = [*(a.name for a in others), f"{last.name}_o", f"{last.name}_i"]
    return [
        plan.step("tile", axis=last.name, by=by),
        plan.step("reorder", axes=order),
        plan.step("split-reduction", axis=f"{last.name}_i"),
    ]


# ---- rows ----------------------------------------------------------------------------------------------------------


def rows_of_groups(plans: list[Plan]) -> list[str]:
    """A workgroup for each row: its operations one after the other, each by all threads."""
    first = plans[0]
    rows = first.function.block.operations[0]
    assert isinstance(rows, Parallel)
    steps = [first.step("bind", axes=[a.name for a in rows.axes], kind="grid")]
    for plan in plans:
        steps += in_row(plan)
    return [*steps, first.step("one-thread"), first.step("share-scratch", bytes=first.facts.shared_bytes)]


def in_row(plan: Plan) -> list[str]:
    """The steps for one operation of a row."""
    loops, inside = plan.names("parallel"), [*plan.names("sequential"), *(a.name for a in plan.reductions())]
    if not loops:
        return sum_by_threads(plan) if isinstance(plan.op, Reduce) else []
    axis = plan.op.axis(loops[-1])
    steps, thread, last = tiles(plan, axis)
    steps.append(plan.step("reorder", axes=[thread, *loops[:-1], f"{axis.name}_o", *inside, *last]))
    steps.append(plan.step("bind", axes=[thread], kind="thread"))
    if last:
        steps.append(plan.step("bind", axes=last, kind="vector"))
    return steps
