"""The schedule of kernels that run several operations in sequence, many times: recurrent layers.

In: a kernel of structured operations inside loops, and the target's facts.  Out: the passes that shape their axes, as
pipeline text.  The loops are as the kernel has them: its tasks, its time.  What is left is one step of one sequence: a
matrix times a vector, and maps over the states.

The matrix is read once a step, and nothing of it stays in the nearest cache until the next: so each step of the
product loads as many vectors as there are sums in registers, from panels that lie in the order in which they are read.
"""

from __future__ import annotations

from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import For
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Reduce, Structured
from headrace.targets.cpu_contraction import best_shape, packable
from headrace.targets.cpu_plan import Plan, symbols

ONE = Dim.constant(1)


def is_recurrent(function: KernelFunc) -> bool:
    """Whether its operations stand in a loop over time."""
    return any(True for _ in walk(function, For))


def in_sequence(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """The steps for all operations of the kernel."""
    steps = list[str]()
    for op in walk(function, Structured):
        plan = Plan(function, op, facts)
        steps += matrix_vector(plan) if is_matrix_vector(plan) else lanes_only(plan)
    return steps


def is_matrix_vector(plan: Plan) -> bool:
    """Whether each element of the wide read serves one result only."""
    op, axis = plan.op, plan.vector_axis()
    if not isinstance(op, Reduce) or axis is None or len(op.reads) != 2 or len(op.accumulators) != 1:
        return False
    return sorted(axis.name in symbols(r) for r in op.reads) == [False, True]


def matrix_vector(plan: Plan) -> list[str]:
    """Panels of vectors; each lies in memory as its reduction goes."""
    vector = plan.vector_axis()
    assert vector is not None
    lanes = plan.lanes()
    v, vectors = vector.name, best_shape(ONE, ONE, vector.extent, lanes, plan.facts.vector_registers).vectors
    steps, inner = [plan.step("tile", axis=v, by=vectors * lanes)], [f"{v}_i"]
    if vectors > 1:
        steps.append(plan.step("tile", axis=f"{v}_i", by=lanes))
        inner = [f"{v}_i_o", f"{v}_i_i"]
    pack = packable(plan, v)
    if pack is not None:
        steps.append(plan.step("pack", parameter=pack[0], dim=pack[1], by=vectors * lanes))
    others = [n for n in plan.names("parallel") if n != v]
    steps.append(plan.step("reorder", axes=[*others, f"{v}_o", *plan.names("reduction"), *inner]))
    if vectors > 1:
        steps.append(plan.step("bind", axes=inner[:-1], kind="unroll"))
    return [*steps, plan.step("bind", axes=inner[-1:], kind="vector")]


def lanes_only(plan: Plan) -> list[str]:
    """Lanes along the fastest dim, where its accesses allow it; plain loops for the rest."""
    vector = plan.vector_axis()
    if vector is None:
        return []
    v = vector.name
    others = [n for n in plan.names("parallel") if n != v]
    return [
        plan.step("tile", axis=v, by=plan.lanes()),
        plan.step("reorder", axes=[*others, f"{v}_o", *(a.name for a in plan.reductions()), f"{v}_i"]),
        plan.step("bind", axes=[f"{v}_i"], kind="vector"),
    ]
