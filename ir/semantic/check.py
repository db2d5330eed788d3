"""`SemanticCheck`: runs functions before and after each pass, and counts what it could check.

Kernels that keep their signature are compared one by one, and only those whose text changed.  Everything else (a
graph, a program, kernels that appear, go away or take other parameters) is compared by running the module's
entry functions, launches included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from headrace.ir.core import contains
from headrace.ir.errors import DimError, ExecutionError, SemanticError
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.interpret import interpret
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Reduce
from headrace.ir.module import Function, Module
from headrace.ir.pass_base import Pass
from headrace.ir.pipeline import step_of
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.semantic.cases import (
    DRAWS,
    ORDERS,
    Case,
    Draw,
    entry_cases,
    entry_work,
    inputs_for,
    kernel_cases,
    kernel_cost,
    unbound,
)
from headrace.ir.semantic.compare import Outcome, difference, emptiness
from headrace.ir.semantic.launches import Launches
from headrace.ir.semantic.sampling import sampled
from headrace.ir.text import print_op

Array = np.ndarray[Any, Any]

KERNEL_WORK = 4_000_000  # above this a kernel is sampled
MOST_WORK = 400_000_000  # above this, where it cannot be sampled, not run at all
MOST_STEPS = 1_000_000
ORDERED_WORK = 1_000_000  # up to this inputs in order are tried as well: they tell whether the ends are looked at
SECOND_CASE_WORK = 200_000_000  # an entry function runs at one more size if that takes less


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A function that a pass changed and that could not be compared."""

    step: str
    function: str
    reason: str

    def __str__(self) -> str:
        return f"{self.step}: @{self.function}: {self.reason}"


class _Side(NamedTuple):
    """The module on one side of a pass: a copy, and the text of each function."""

    module: Module
    texts: dict[str, str]


class SemanticCheck:
    """Use one for a whole pipeline: what a pass leaves is what the next one finds, and runs once."""

    def __init__(self) -> None:
        self.checked = 0
        self.unchecked: list[Unchecked] = []
        self._old: _Side | None = None
        self._known: dict[tuple[object, ...], Outcome] = {}
        self._launches = Launches()

    def before(self, module: Module, pass_: Pass) -> None:
        """Keeps the module as it is."""
        copy = module.clone()
        assert isinstance(copy, Module)
        copy.constants = module.constants
        self._old = _Side(copy, _texts(module))

    def after(self, module: Module, pass_: Pass) -> None:
        """Compares.  Raises SemanticError."""
        assert self._old is not None, "before() comes first"
        old, new = self._old, _Side(module, _texts(module))
        self._old = None
        if old.texts == new.texts:
            return
        compare = _Comparison(self, pass_, old, new)
        whole = False
        for name in dict.fromkeys([*old.texts, *new.texts]):
            if old.texts.get(name) == new.texts.get(name):
                continue
            kernels = _same_kernel(old, new, name)
            if kernels is not None:
                compare.kernels(*kernels)
            else:
                whole = True
        if whole:
            for entry in _entries(old, new):
                compare.entry(entry)
            self._launches.forget()
        self._forget(new)

    def summary(self) -> str:
        """`checked 123 of 125 functions (98.4 %)`, with the reasons for the others."""
        total = self.checked + len(self.unchecked)
        share = 100.0 if not total else 100 * self.checked / total
        head = f"checked {self.checked} of {total} functions ({share:.1f} %)"
        return "\n".join([head, *(f"  not checked: {u}" for u in self.unchecked)])

    def _forget(self, now: _Side) -> None:
        """Outcomes of functions as they no longer are."""
        current = {*now.texts.values(), _all(now)}
        self._known = {key: outcome for key, outcome in self._known.items() if key[0] in current}


class _Comparison:
    """What one pass did."""

    def __init__(self, check: SemanticCheck, pass_: Pass, old: _Side, new: _Side) -> None:
        self.check = check
        self.pass_ = pass_
        self.step = str(step_of(pass_))
        self.old = old
        self.new = new

    # ---- kernels -----------------------------------------------------------------------------------------

    def kernels(self, before: KernelFunc, after: KernelFunc) -> None:
        """One kernel, at a few sizes."""
        cases = kernel_cases(before, after)
        reasons = [self._kernel_at(before, after, case) for case in cases]
        if reasons and reasons[0] is None and contains(after, Reduce):
            self._in_parts(before, after, cases[0])
        self._count(before.function_name, reasons)

    def _kernel_at(self, before: KernelFunc, after: KernelFunc, case: Case) -> str | None:
        """None if the kernel was compared at this size, else why not."""
        costs = [kernel_cost(f, dict(case)) for f in (before, after)]
        if max(c.steps for c in costs) > MOST_STEPS:
            return f"{max(c.steps for c in costs)} steps at {_text(case)} are too many"
        if max(c.work for c in costs) > KERNEL_WORK:
            found = self._sampled(before, after, case)
            if found is not None:
                return found.reason
            if max(c.work for c in costs) > MOST_WORK:
                return f"too much work at {_text(case)}, and no part of it can run alone"

        def run(side: _Side, draw: Draw, wide: bool) -> Outcome:
            function = before if side is self.old else after
            result = run_kernel(function, inputs_for(before, case, draw), dict(case), wide=wide)
            return Outcome(result.outputs, result.written, fixed=not before.inputs)

        name = before.function_name
        cheap = max(c.work for c in costs) <= ORDERED_WORK
        return self._compare(name, case, run, lambda side: side.texts[name], ordered=cheap)

    def _in_parts(self, before: KernelFunc, after: KernelFunc, case: Case) -> None:
        """Reductions in two parts: what `combine` says counts, whether or not anything uses it yet."""
        if kernel_cost(after, dict(case)).work <= KERNEL_WORK:
            for order in ORDERS:
                self._in_parts_of(before, after, case, inputs_for(before, case, replace(DRAWS[0], order=order)))

    def _in_parts_of(self, before: KernelFunc, after: KernelFunc, case: Case, inputs: Sequence[Array]) -> None:
        symbols = dict(case)
        try:
            whole, exact = (run_kernel(before, inputs, symbols, wide=w) for w in (False, True))
            parts = run_kernel(after, inputs, symbols, split=True)
        except ExecutionError:
            return  # these inputs are not for this function; others were compared
        old, new, wide = (Outcome(r.outputs, r.written) for r in (whole, parts, exact))
        wrong = difference(old, new, wide, "reorders", self.pass_.bound_ulp)
        if wrong is not None:
            raise self._error(before.function_name, case, f"reduced in two parts, {wrong}")

    def _sampled(self, before: KernelFunc, after: KernelFunc, case: Case) -> _Verdict | None:
        """In some places only; None if that cannot be."""
        wide = self.pass_.effect != "exact"
        reason = "no inputs were tried"
        for draw in DRAWS:
            inputs = inputs_for(before, case, draw)
            try:
                outcomes = sampled(before, after, inputs, case, wide=wide)
            except ExecutionError as error:
                if self._runs(before, inputs, case):
                    raise self._error(before.function_name, case, str(error)) from None
                reason = f"it fails already before: {error}"
                continue
            if outcomes is None:
                return None
            old, new, exact = outcomes
            self._must_agree(before.function_name, case, old, new, exact)
            found = emptiness(old)
            if found is None:
                return _Verdict(None)
            reason = found
        return _Verdict(reason)

    def _runs(self, function: KernelFunc, inputs: Sequence[Array], case: Case) -> bool:
        try:
            run_kernel(function, inputs, dict(case))
        except ExecutionError:
            return False
        return True

    # ---- entry functions ---------------------------------------------------------------------------------

    def entry(self, name: str) -> None:
        """A graph or a program, by name, with all that it calls."""
        function = self.old.module.function(name)
        reasons = []
        for number, case in enumerate(entry_cases(function)):
            work = entry_work(self.old.module, function, case)
            if number and work > SECOND_CASE_WORK:
                break

            def run(side: _Side, draw: Draw, wide: bool, case: Case = case) -> Outcome:
                execute = self.check._launches.executor(side.texts)
                inputs = inputs_for(function, case, draw)
                symbols = unbound(function)
                return Outcome.whole(interpret(side.module, name, inputs, symbols, wide=wide, execute=execute))

            reasons.append(self._compare(name, case, run, _all, ordered=work <= ORDERED_WORK))
        self._count(name, reasons)

    # ---- both --------------------------------------------------------------------------------------------

    def _compare(
        self,
        name: str,
        case: Case,
        run: Callable[[_Side, Draw, bool], Outcome],
        text: Callable[[_Side], str],
        *,
        ordered: bool,
    ) -> str | None:
        """Runs both sides; None if the result says something, else why not.  Raises SemanticError."""

        def outcome(side: _Side, draw: Draw, wide: bool) -> Outcome:
            key = (text(side), name, case, draw, wide)
            if key not in self.check._known:
                self.check._known[key] = run(side, draw, wide)
            return self.check._known[key]

        def at(draw: Draw) -> str | None:
            try:
                before = outcome(self.old, draw, False)
                exact = outcome(self.old, draw, True) if self.pass_.effect != "exact" else None
            except (ExecutionError, DimError) as error:
                return f"it fails already before: {error}"
            try:
                after = outcome(self.new, draw, False)
            except (ExecutionError, DimError) as error:
                raise self._error(name, case, str(error)) from None
            self._must_agree(name, case, before, after, exact)
            return emptiness(before)

        reason: str | None = None
        for draw in DRAWS:
            reason = at(draw)
            if reason is None:
                for order in ORDERS if ordered else ():
                    at(replace(draw, order=order))
                break
        return reason

    def _must_agree(self, name: str, case: Case, before: Outcome, after: Outcome, exact: Outcome | None) -> None:
        wrong = difference(before, after, exact, self.pass_.effect, self.pass_.bound_ulp)
        if wrong is not None:
            raise self._error(name, case, wrong)

    def _error(self, name: str, case: Case, what: str) -> SemanticError:
        at = f" at {_text(case)}" if case else ""
        return SemanticError(f"{self.step}: @{name}{at}: {what}")

    def _count(self, name: str, reasons: Sequence[str | None]) -> None:
        """Checked if any size was."""
        if any(r is None for r in reasons):
            self.check.checked += 1
        else:
            reason = next((r for r in reasons if r is not None), "there is no legal size")
            self.check.unchecked.append(Unchecked(self.step, name, reason))


class _Verdict(NamedTuple):
    """That a function was compared (None), or why that means nothing."""

    reason: str | None


def _texts(module: Module) -> dict[str, str]:
    return {f.function_name: print_op(f) for f in module.functions(Function)}


def _all(side: _Side) -> str:
    return "".join(side.texts.values())


def _text(case: Case) -> str:
    return ", ".join(f"{s} = {n}" for s, n in case)


def _same_kernel(old: _Side, new: _Side, name: str) -> tuple[KernelFunc, KernelFunc] | None:
    """Both forms of a kernel that keeps its signature."""
    if name not in old.texts or name not in new.texts:
        return None
    before, after = old.module.function(name), new.module.function(name)
    if not isinstance(before, KernelFunc) or not isinstance(after, KernelFunc):
        return None
    same = [p.type for p in before.parameters] == [p.type for p in after.parameters]
    return (before, after) if same and (before.outputs, before.scalars) == (after.outputs, after.scalars) else None


def _takes_the_same(function: GraphFunc, module: Module) -> bool:
    other = module.function(function.function_name)
    return isinstance(other, GraphFunc) and len(other.parameters) == len(function.parameters)


def _entries(old: _Side, new: _Side) -> list[str]:
    """Names of the graphs and programs that both sides have; of constants' functions those that changed.  A function
    that takes other values than before is run by those that call it."""
    found = []
    for function in old.module.functions(Function):
        name = function.function_name
        if not isinstance(function, GraphFunc | ProgramFunc) or name not in new.texts:
            continue
        if isinstance(function, GraphFunc) and function.private and not _takes_the_same(function, new.module):
            continue
        if function.parameters or old.texts[name] != new.texts[name]:
            found.append(name)
    return found
