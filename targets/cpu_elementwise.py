"""Kernels without reuse on CPUs with vectors: maps, and reductions along dims that are not the fastest.

In: a plan.  Out: the passes that make the fastest dim lanes where all accesses allow it, the outer dims tasks.
"""

from __future__ import annotations

from headrace.targets.cpu_plan import Plan


def elementwise(plan: Plan) -> list[str]:
    """Lanes along the fastest dim, the outer dims as tasks."""
    vector = plan.vector_axis()
    loops = [a.name for a in plan.op.axes if a.kind == "parallel"]
    reductions = [a.name for a in plan.op.axes if a.kind == "reduction"]
    if vector is None:
        return [plan.step("bind", axes=loops, kind="task")] if loops else []
    lanes = plan.lanes()
    steps = [plan.step("tile", axis=vector.name, by=lanes)]
    others = [name for name in loops if name != vector.name]
    tasks = [*others, f"{vector.name}_o"]
    order = [*tasks, *reductions, f"{vector.name}_i"]
    steps.append(plan.step("reorder", axes=order))
    steps.append(plan.step("bind", axes=tasks if reductions else tasks[:-1] or tasks, kind="task"))
    steps.append(plan.step("bind", axes=[f"{vector.name}_i"], kind="vector"))
    return steps
