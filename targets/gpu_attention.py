"""Attention on GPUs: a workgroup for a few rows, which goes through the columns block by block.

In: a kernel of rows that weighs the rows of a matrix by a softmax, and the target's facts.  Out: the passes that shape
it, as pipeline text.  Scores, weights and results lie in shared memory; both products have their sums in registers and
what they read in shared memory, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

from headrace.ir.dims import Dim
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Structured
from headrace.passes.lowering.softmax import Online, RowSoftmax, row_softmax
from headrace.targets.cpu_contraction import peeled
from headrace.targets.cpu_plan import Plan, is_linear
from headrace.targets.cpu_rows import moves_by_rows
from headrace.targets.gpu_contraction import DEEPEST, by_threads, power_below, rises

ROWS = 32  # of a workgroup
COLUMNS = 64  # of a block
WIDEST = 16  # results of a thread along a row: what a vector holds


def attention(function: KernelFunc, facts: TargetFacts) -> list[str] | None:
    """The steps; None for a kernel of another form, or one of few rows."""
    found = row_softmax(function)
    if found is None or not _fits(function, found, facts):
        return None
    return _Group(Plan(function, found.scores, facts), found).steps()


def _fits(function: KernelFunc, found: RowSoftmax, facts: TargetFacts) -> bool:
    row, side = found.rows.axes[-1], isqrt(facts.group_threads)
    if len(found.results) != 1 or power_below(row, ROWS) < side:
        return False
    (result,) = found.results
    if not result.extent.is_constant or result.extent.value > side * WIDEST:
        return False
    operations: list[Structured] = [found.scores, found.greatest, found.weights, found.total, found.product]
    if not all(moves_by_rows(Plan(function, o, facts), row.name) for o in operations):
        return False
    accesses = [*found.scores.late, *found.product.late, *found.product.writes]
    if not all(is_linear(d, a.name) for x in accesses for d in x.map.indices for a in (found.column, result)):
        return False
    reads = [(found.scores, found.scores.reads), (found.product, found.product.reads)]
    local = {row.name, found.column.name, result.name, found.added.name, *(a.name for a in found.scores.axes)}
    return len(found.scores.reads) == 2 and all(
        rises(d, name) for _, group in reads for r in group for d in r.map.indices for name in local
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """One workgroup's work: axes as `kernel.online-softmax` and `kernel.block-rows` name them."""

    plan: Plan  # of the scores
    found: RowSoftmax

    def steps(self) -> list[str]:
        found, plan = self.found, self.plan
        row = found.rows.axes[-1]
        rows = power_below(row, ROWS)
        _, before, behind = found.new_names(plan.function)
        (result,) = found.results
        steps = [plan.step("bind", axes=[a.name for a in found.rows.axes], kind="grid")]
        steps.append(plan.step("online-softmax", by=COLUMNS))
        steps.append(plan.step("block-rows", axis=row.name, by=rows, padded=True))
        own = {op: f"{row.name}_i{op.value}" for op in Online}  # the rows of each operation
        single = (Online.NO_MOST, Online.NO_TOTAL, Online.MOST_BEFORE, Online.SCALE, Online.RECIPROCAL)
        steps += [plan.step("bind", axes=[own[op]], kind="thread") for op in single]
        wide = power_below(result, COLUMNS * WIDEST)
        steps += self._elements(own[Online.NO_RESULTS], before[0], wide)
        steps += self._elements(own[Online.WEIGHTS], found.weights.axes[0].name, COLUMNS)
        steps += self._elements(own[Online.RESULTS], behind[0], wide)
        steps += self._row(own[Online.GREATEST], found.greatest.axes[0].name)
        steps += self._row(own[Online.TOTAL], found.total.axes[0].name)
        steps += self._product(plan, own[Online.SCORES], rows, found.column.name, COLUMNS, [0, 1])
        factor = found.weights.writes[0].value
        staged = [n for n, r in enumerate(found.product.reads) if r.value is not factor]
        steps += self._product(replace(plan, op=found.product), own[Online.PRODUCT], rows, result.name, wide, staged)
        return [*steps, plan.step("share-scratch", bytes=plan.facts.shared_bytes)]

    def _elements(self, row: str, column: str, columns: int) -> list[str]:
        """Neighbouring threads have neighbouring vectors of a row."""
        plan, threads = self.plan, self.plan.facts.group_threads
        lanes = min(plan.lanes(), columns)
        side = min(columns // lanes, threads)
        order = [f"{row}_i", f"{column}_i_o", f"{row}_o", f"{column}_o", f"{column}_i_i"]
        return [
            plan.step("tile", axis=column, by=side * lanes),
            plan.step("tile", axis=f"{column}_i", by=lanes),
            plan.step("tile", axis=row, by=threads // side),
            plan.step("reorder", axes=order),
            plan.step("bind", axes=order[:2], kind="thread"),
            plan.step("bind", axes=order[-1:], kind="vector"),
        ]

    def _row(self, row: str, column: str) -> list[str]:
        """A thread has a row."""
        plan = self.plan
        return [
            plan.step("tile", axis=column, by=plan.lanes()),
            plan.step("bind", axes=[row], kind="thread"),
            plan.step("bind-reduction", axes=[f"{column}_i"]),
        ]

    def _product(self, plan: Plan, row: str, rows: int, column: str, columns: int, staged: Sequence[int]) -> list[str]:
        """A square of threads, each with a few rows of a few columns."""
        side = isqrt(plan.facts.group_threads)
        wide = max(columns // side, 1)
        *others, last = plan.reductions()
        extent = Dim.constant(COLUMNS) if last is self.found.added else last.extent
        depth = min(extent.value, DEEPEST) if extent.is_constant else DEEPEST
        threads = [f"{row}_o", f"{column}_o", f"{column}_i_o"]
        turns, inner = [*(a.name for a in others), f"{last.name}_o"], [f"{last.name}_i"]
        registers = [f"{row}_i", f"{column}_i_i"]
        steps = [
            plan.step("tile", axis=row, by=rows // side),
            plan.step("tile", axis=column, by=side * wide),
            plan.step("tile", axis=f"{column}_i", by=wide),
            plan.step("tile", axis=last.name, by=depth),
            plan.step("reorder", axes=[*threads, *turns, *inner, *registers]),
            *by_threads(plan, threads, turns, inner, registers, wide > 1, list(staged)),
        ]
        left = peeled(extent, depth)
        return [*steps, plan.step("peel", axis=inner[0], sizes=left)] if left else steps
