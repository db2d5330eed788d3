"""The schedule of CPUs with vectors: which tiles, which axes become lanes, registers and tasks.

In: a structured kernel and the target's facts.  Out: the passes that shape its axes, as pipeline text.  One file for
each shape of code that there is: contractions, windows, rows, and what reuses nothing.
"""

from __future__ import annotations

from headrace.ir.core import walk
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Structured
from headrace.targets.cpu_attention import attention, is_attention
from headrace.targets.cpu_contraction import contraction, is_contraction
from headrace.targets.cpu_elementwise import elementwise
from headrace.targets.cpu_plan import Plan
from headrace.targets.cpu_recurrent import in_sequence, is_recurrent
from headrace.targets.cpu_rows import reads_vectors, reduces_rows, row_reduction, rows_together
from headrace.targets.cpu_window import is_window, window


def schedule(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """The steps for one kernel; none where it has no structured operation."""
    ops = list(walk(function, Structured))
    if len(ops) != 1:
        if is_recurrent(function):
            return in_sequence(function, facts)
        plans = [Plan(function, op, facts) for op in ops]
        if not plans:
            return []
        return attention(plans) if is_attention(plans) else rows_together(plans)
    plan = Plan(function, ops[0], facts)
    if reduces_rows(plan) and not (is_contraction(plan) and reads_vectors(plan)):
        return row_reduction(plan)
    if is_contraction(plan):
        return contraction(plan)
    return window(plan) if is_window(plan) else elementwise(plan)
