"""The schedule of kernels that run several operations in sequence, many times: recurrent layers.

In: a kernel of structured operations inside loops, and the target's facts.  Out: the passes that shape their axes, as
pipeline text.  The loops are as the kernel has them: its tasks, its time.  What is left is one step of a few sequences:
a matrix times a vector for each, and maps over the states.

The matrix is read once a step, and nothing of it stays in the nearest cache until the next: so it lies in panels in the
order in which it is read, and each vector that is loaded serves all sequences.  How many there are is known when the
kernel runs: each number has a register tile of its own.
"""

from __future__ import annotations

from headrace.ir.access import Axis
from headrace.ir.core import contains, walk
from headrace.ir.dims import Dim
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import For
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Reduce, Structured
from headrace.passes.lowering.enclosing import enclosing_facts
from headrace.passes.lowering.names import version_name
from headrace.targets.cpu_contraction import best_shape, packable
from headrace.targets.cpu_plan import Plan, symbols

ONE = Dim.constant(1)
MOST_ROWS = 4  # versions of one product


def is_recurrent(function: KernelFunc) -> bool:
    """Whether its operations stand in a loop over time."""
    return contains(function, For)


def in_sequence(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """The steps for all operations of the kernel."""
    steps = list[str]()
    for op in walk(function, Structured):
        plan = Plan(function, op, facts)
        steps += product(plan) if is_product(plan) else lanes_only(plan)
    return steps


def is_product(plan: Plan) -> bool:
    """Whether a contiguous read, without the axes of the results' rows, meets one that does not vary along it."""
    op, axis = plan.op, plan.vector_axis()
    if not isinstance(op, Reduce) or axis is None or len(op.reads) != 2 or len(op.accumulators) != 1:
        return False
    wide = [r for r in op.reads if axis.name in symbols(r)]
    rows = {a.name for a in op.axes if a.kind == "parallel" and a is not axis}
    return len(wide) == 1 and not rows & symbols(wide[0])


def product(plan: Plan) -> list[str]:
    """Panels as wide as the most rows want them; fewer rows take several at once."""
    vector = plan.vector_axis()
    assert vector is not None
    lanes, v, registers = plan.lanes(), vector.name, plan.registers()
    widest = best_shape(ONE, ONE, vector.extent, lanes, registers).vectors
    pack = packable(plan, v)
    row, most = _rows(plan, vector)
    panel = _vectors(most, widest, registers)
    steps = [] if row is None else [plan.step("versions", axis=row.name, most=most)]
    for rows in range(most, 0, -1):
        steps += _version(plan, v, row, rows, _vectors(rows, widest, registers), panel)
    if pack is not None:
        steps.append(plan.step("pack", parameter=pack[0], dim=pack[1], by=panel * lanes))
    return steps


def _rows(plan: Plan, vector: Axis) -> tuple[Axis | None, int]:
    """The axis of the rows that share the matrix, and how many there are at most."""
    known = enclosing_facts(plan.op, plan.function.known)
    for axis in plan.op.axes:
        if axis.kind == "parallel" and axis is not vector:
            for most in range(1, MOST_ROWS + 1):
                if known.less_equal(axis.extent, most) is True:
                    return axis, most
    return None, 1


def _version(plan: Plan, v: str, row: Axis | None, rows: int, vectors: int, panel: int) -> list[str]:
    """The steps for one number of rows: `vectors` for each of them, a multiple of a panel's."""

    def named(axis: str) -> str:
        return axis if row is None else version_name(axis, rows)

    lanes, inner = plan.lanes(), named(v)
    steps, split = list[str](), list[str]()
    for size in dict.fromkeys((vectors, panel, 1)):
        steps.append(plan.step("tile", axis=inner, by=size * lanes))
        split.append(f"{inner}_o")
        inner += "_i"
    unrolled = split[1:]
    if row is not None:
        unrolled.append(named(row.name))  # innermost: one element of each row stays in a register, one vector at a time
    others = [named(n) for n in plan.names("parallel") if n != v and (row is None or n != row.name)]
    order = [*others, split[0], *map(named, plan.names("reduction")), *unrolled, inner]
    steps.append(plan.step("reorder", axes=order))
    if unrolled:
        steps.append(plan.step("bind", axes=unrolled, kind="unroll"))
    return [*steps, plan.step("bind", axes=[inner], kind="vector")]


def _vectors(rows: int, panel: int, registers: int) -> int:
    """Vectors of a tile: as many as leave registers for all sums, an element of each row and the vector loaded."""
    vectors = panel
    while rows > 1 and vectors > 1 and rows * vectors + rows + 1 > registers:
        vectors //= 2
    return vectors


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
