"""The pass manager: runs the passes of a pipeline over a module, one by one.

In: a module and a `Pipeline`.  Out: the module, changed in place, and how long each pass took.  On the way it
prints, verifies, and keeps what is needed to repeat a failure, as `Hooks` says.  `bisect` finds the first pass
after which something no longer holds.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from headrace.ir.constants import ConstantStore
from headrace.ir.errors import HeadraceError, PassError, SemanticError, VerifyError, nearest
from headrace.ir.module import Module
from headrace.ir.pass_base import Expanding, Pass, PassContext
from headrace.ir.pass_registry import find_pass, pass_names
from headrace.ir.pipeline import Pipeline, Step, pass_of, step_of
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module, print_op, save_hir
from headrace.ir.verify import verify

VerifyEach = Literal["off", "structure", "semantic"]


class SemanticCheck(Protocol):
    """Compares what the module computes before and after each pass."""

    def before(self, module: Module, pass_: Pass) -> None: ...

    def after(self, module: Module, pass_: Pass) -> None:
        """Raises SemanticError."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one pass took, checks not counted, and whether it changed anything."""

    step: Step
    seconds: float
    changed: bool


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens around each pass.

    `print_ir_after`: names of passes, or "all"; `show` gets a headline and the text.  `verify_each`: nothing, the
    verifier, or that and `semantic`.  `reproducer`: where a failing pass leaves the module as it was before and
    the passes that were still to run.  `observe` sees the module after each pass.
    """

    print_ir_after: tuple[str, ...] = ()
    show: Callable[[str, str], None] | None = None
    verify_each: VerifyEach = "off"
    semantic: SemanticCheck | None = None
    reproducer: Path | None = None
    observe: Callable[[Step, Module], None] | None = None


class PassManager:
    """Runs a pipeline.  Raises PassError at once if a pass or an option in it does not exist."""

    def __init__(self, pipeline: Pipeline, context: PassContext, hooks: Hooks | None = None) -> None:
        self.passes = [pass_of(step, find_pass) for step in pipeline.steps]
        self.context = context
        self.hooks = Hooks() if hooks is None else hooks
        self.timings: list[Timing] = []
        for name in self.hooks.print_ir_after:
            if name != "all" and name not in (names := pass_names()):
                raise PassError(f"unknown pass {name!r} to print after{nearest(name, names)}")

    def run(self, module: Module) -> list[Timing]:
        """Runs all passes.  Raises PassError naming the pass that failed; SemanticError as the check raises it."""
        self.timings = []
        if self.hooks.verify_each != "off":
            verify(module)
        self._run_all(module, self.passes, ())
        return self.timings

    def _run_all(self, module: Module, passes: Sequence[Pass], later: Sequence[Step]) -> None:
        """`later` are the steps that follow all of `passes`."""
        steps = [step_of(p) for p in passes]
        for number, pass_ in enumerate(passes):
            rest = [*steps[number + 1 :], *later]
            if isinstance(pass_, Expanding):
                self._run_all(module, self._expansion(module, pass_, rest), rest)
            else:
                self._run_one(module, pass_, rest)
            self._show(module, pass_)

    def _expansion(self, module: Module, pass_: Expanding, rest: Sequence[Step]) -> list[Pass]:
        before = self._snapshot(module)
        try:
            steps = Pipeline.parse(",".join(pass_.expand(module, self.context)), pass_.name).steps
            return [pass_of(step, find_pass) for step in steps]
        except Exception as error:
            raise self._failure(error, pass_, before, module.constants, rest) from error

    def _run_one(self, module: Module, pass_: Pass, rest: Sequence[Step]) -> None:
        before = self._snapshot(module)
        rewriter = Rewriter()
        try:
            if self.hooks.semantic is not None and self.hooks.verify_each == "semantic":
                self.hooks.semantic.before(module, pass_)
            start = time.perf_counter()
            pass_.run(module, rewriter, self.context)
            self.timings.append(Timing(step_of(pass_), time.perf_counter() - start, rewriter.changed))
            self._check(module, pass_, rewriter, before)
        except Exception as error:
            raise self._failure(error, pass_, before, module.constants, rest) from error
        if self.hooks.observe is not None:
            self.hooks.observe(step_of(pass_), module)

    def _check(self, module: Module, pass_: Pass, rewriter: Rewriter, before: str | None) -> None:
        if self.hooks.verify_each == "off":
            return
        if not rewriter.changed and print_op(module) != before:
            raise PassError("changed the module, but not by its rewriter, which says that nothing changed")
        try:
            verify(module)
        except VerifyError as error:
            raise PassError(f"left what does not verify: {error}") from error
        if self.hooks.semantic is not None and self.hooks.verify_each == "semantic":
            self.hooks.semantic.after(module, pass_)

    def _snapshot(self, module: Module) -> str | None:
        """The text before a pass, where somebody may need it."""
        wanted = self.hooks.reproducer is not None or self.hooks.verify_each != "off"
        return print_op(module) if wanted else None

    def _show(self, module: Module, pass_: Pass) -> None:
        wanted = self.hooks.print_ir_after
        if self.hooks.show is not None and ("all" in wanted or pass_.name in wanted):
            self.hooks.show(f"// after {step_of(pass_)}", print_op(module))

    def _failure(
        self, error: Exception, pass_: Pass, before: str | None, constants: ConstantStore, rest: Sequence[Step]
    ) -> HeadraceError:
        """The error to raise; writes the reproducer."""
        written = ""
        if self.hooks.reproducer is not None and before is not None:
            remaining = Pipeline((step_of(pass_), *rest))
            lines = [f"RUN: opt --pass-pipeline {shlex.quote(str(remaining))} %s", f"{pass_.name} failed here"]
            save_hir(parse_module(before, constants=constants), self.hooks.reproducer, lines)
            written = f"; to repeat it: {self.hooks.reproducer}"
        if isinstance(error, SemanticError):
            return SemanticError(f"{error}{written}")
        message = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        place = "" if message.startswith(pass_.name) else f"{pass_.name}: "
        return PassError(f"{place}{message}{written}")


def bisect(
    module: Module, pipeline: Pipeline, predicate: Callable[[Module], bool], context: PassContext
) -> Step | None:
    """The first pass after which `predicate` no longer holds; None if it holds to the end.

    Runs the passes once on a copy and asks about few of the modules on the way, supposing that what is broken
    stays broken.  Raises PassError if it does not hold at the start.
    """
    texts = [print_op(module)]
    steps: list[Step] = []

    def observe(step: Step, after: Module) -> None:
        steps.append(step)
        texts.append(print_op(after))

    copy = parse_module(texts[0], constants=module.constants)
    PassManager(pipeline, context, Hooks(observe=observe)).run(copy)

    def holds(number: int) -> bool:
        return predicate(parse_module(texts[number], constants=copy.constants))

    if not holds(0):
        raise PassError("bisect: what is asked does not hold before the first pass")
    if holds(len(steps)):
        return None
    good, bad = 0, len(steps)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return steps[bad - 1]
