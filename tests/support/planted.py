"""Bugs in passes, planted while the guilty pass runs.  In: a patch, modules that reach it.  Out: what the check said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from headrace.ir.errors import SemanticError
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.pass_manager import Hooks, PassManager
from headrace.ir.pipeline import Pipeline
from headrace.ir.semantic import SemanticCheck
from headrace.targets import find_target

PASSES = Path(__file__).parents[1] / "passes"
Patch = tuple[Any, str, Any]  # object, attribute, replacement


@dataclass(frozen=True)
class Mutant:
    """A bug in one pass."""

    name: str
    guilty: str
    patch: Callable[[], Patch]


class Planted:
    """The semantic check, with the bug in place exactly while the guilty pass runs."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.check = SemanticCheck()
        self.active: Any = None
        self.ran = False

    def before(self, module: Module, pass_: Pass) -> None:
        self.check.before(module, pass_)
        if pass_.name == self.mutant.guilty:
            place, name, wrong = self.mutant.patch()
            self.active = mock.patch.object(place, name, wrong)
            self.active.start()
            self.ran = True

    def after(self, module: Module, pass_: Pass) -> None:
        if self.active is not None:
            self.active.stop()
            self.active = None
        self.check.after(module, pass_)


def run(module: Module, check: Any, preset: str, pipeline: Pipeline | None = None) -> None:
    """The target's own pipeline, or the one given."""
    _, target = find_target(preset)
    context = PassContext(target.presets[preset], target.schedule)
    steps = Pipeline.read(target.pipeline()) if pipeline is None else pipeline
    PassManager(steps, context, Hooks(verify_each="semantic", semantic=check)).run(module)


def verdict(mutant: Mutant, modules: Iterable[Module], pipeline: Pipeline | None = None) -> str:
    """`caught`, or what happened instead, with code for x86-64-v3: its tiles have four rows, whose rest has two pieces."""
    said = "not noticed"
    for module in modules:
        planted = Planted(mutant)
        try:
            run(module, planted, "x86-64-v3", pipeline)
        except SemanticError as error:
            return "caught" if mutant.guilty in str(error) else f"blamed wrongly: {error}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            if planted.active is not None:
                planted.active.stop()
        if said == "not noticed" and not planted.ran:
            said = "the pass did not run"
    return said


def text_test(mutant: Mutant) -> tuple[str, Path]:
    """The pipeline and the file of the guilty pass's text test."""
    dialect, _, name = mutant.guilty.partition(".")
    path = PASSES / dialect / f"{name.replace('-', '_')}.hir"
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    found = re.search(r"--pass-pipeline (?:'([^']*)'|(\S+))", first)
    assert found is not None
    return found[1] or found[2], path


def missed(mutants: Iterable[Mutant], modules: Callable[[], Iterable[Module]]) -> list[str]:
    """The mutants that are not caught, each with what happened."""
    verdicts = [(mutant, verdict(mutant, modules())) for mutant in mutants]
    return [f"{m.guilty}: {m.name}: {said}" for m, said in verdicts if said != "caught"]
