"""Every stage as text: printing and parsing lose nothing, and going on from the text gives the same artefact."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_examples import Example

from headrace.compiler.driver import compile, read_model
from headrace.ir.module import Module
from headrace.ir.pass_manager import Hooks
from headrace.ir.pipeline import Pipeline, Step
from headrace.ir.text import load_hir, parse_module, print_op, save_hir
from headrace.targets import find_target

TARGET = "x86-64-v3"


def test_every_stage_resumes(example: Example, tmp_path: Path) -> None:
    _, family = find_target(TARGET)
    steps: list[Step] = []

    def keep(step: Step, module: Module) -> None:
        text = print_op(module)
        assert print_op(parse_module(text, constants=module.constants)) == text, step
        save_hir(module, tmp_path / f"{len(steps)}.hir")
        steps.append(step)

    compile(example.path, output=tmp_path / "whole.hrm", target=TARGET, hooks=Hooks(observe=keep))
    whole = (tmp_path / "whole.hrm").read_bytes()
    # kernel.schedule is its expansion here, so the steps are the whole pipeline.
    written = [s.name for s in Pipeline.read(family.pipeline()).steps if s.name != "kernel.schedule"]
    assert [s.name for s in steps if s.name in written] == written
    stages = range(len(steps)) if example.name == "digits" else _each_kind(steps)
    for number in stages:
        resumed = tmp_path / "resumed.hrm"
        rest = ",".join(str(s) for s in steps[number + 1 :])
        compile(tmp_path / f"{number}.hir", output=resumed, target=TARGET, pipeline=rest)
        assert resumed.read_bytes() == whole, f"resumed after {steps[number]}"


def test_the_imported_module_resumes_for_several_targets(example: Example, tmp_path: Path) -> None:
    """Before any pass, by the targets' own pipelines; the text carries source and options."""
    options = {"target": "x86-64-v2,aarch64"}
    compile(example.path, output=tmp_path / "whole.hrm", **options)
    module = read_model(example.path, None)
    module.attributes["options"] = ("targets=x86-64-v2,aarch64",)
    save_hir(module, tmp_path / "m.hir")
    compile(tmp_path / "m.hir", output=tmp_path / "resumed.hrm", **options)
    assert (tmp_path / "resumed.hrm").read_bytes() == (tmp_path / "whole.hrm").read_bytes()


def _each_kind(steps: list[Step]) -> list[int]:
    """The last place of each pass: enough for a large model."""
    return sorted({step.name: number for number, step in enumerate(steps)}.values())


def test_saved_text_is_the_identity(example: Example, tmp_path: Path) -> None:
    saved: list[str] = []

    def keep(step: Step, module: Module) -> None:
        save_hir(module, tmp_path / "m.hir")
        saved.append((tmp_path / "m.hir").read_text())
        save_hir(load_hir(tmp_path / "m.hir"), tmp_path / "again.hir")
        assert (tmp_path / "again.hir").read_text() == saved[-1], step
        constants = tmp_path / "m.hir.constants"
        if constants.exists():
            assert (tmp_path / "again.hir.constants").read_bytes() == constants.read_bytes()

    if example.name != "digits":
        pytest.skip("the small model says it all")
    compile(example.path, output=tmp_path / "m.hrm", target=TARGET, hooks=Hooks(observe=keep))
    assert len(saved) > 20
