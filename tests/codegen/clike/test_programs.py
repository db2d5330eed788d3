"""The C text and the LLVM code of the same scheduled kernels give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from c_program import run_in_c
from model_examples import REAL, Example, example_named
from operator_models import MODELS, SIZES, inputs_of

from headrace.compiler.driver import compile, emit_c_text, read_model, run_passes
from headrace.runtime.python import load
from headrace.targets import find_target


@pytest.fixture(scope="module", params=["digits", *REAL])
def example(request: pytest.FixtureRequest) -> Example:
    return example_named(request.param)


@pytest.mark.parametrize("preset", ["x86-64-v2", "x86-64-v3"])
def test_c_and_llvm_agree(example: Example, preset: str, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Within 2e-6 of the largest result: one side fuses multiply-adds, the other must not."""
    require_tool("gcc")
    _, family = find_target(preset)
    module = read_model(example.path, None)
    run_passes(module, preset, family, None, None)
    inputs = example.inputs(example.batches[-1])
    compile(example.path, output=tmp_path / "m.hrm", target=preset)
    for found, expected in zip(
        run_in_c(module, inputs, tmp_path), load(tmp_path / "m.hrm").run(inputs).values(), strict=True
    ):
        assert float(np.abs(found - expected).max()) <= 2e-6 * float(np.abs(expected).max())


@pytest.mark.parametrize("preset", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", MODELS)
def test_operators(name: str, preset: str, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Every tile and tail of the operators' models, on symbolic dims, within 2e-6 of the largest result."""
    require_tool("gcc")
    _, family = find_target(preset)
    model = MODELS[name]()
    (tmp_path / "m.onnx").write_bytes(model.model())
    module = read_model(tmp_path / "m.onnx", None)
    run_passes(module, preset, family, None, None)
    inputs = inputs_of(model, SIZES[name][-1])
    in_c = run_in_c(module, inputs, tmp_path)
    # C runs every level's kernels anywhere; LLVM's code of this machine's level is what they have to agree with.
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    for found, expected in zip(in_c, load(tmp_path / "m.hrm").run(inputs).values(), strict=True):
        assert float(np.abs(found - expected).max()) <= 2e-6 * float(np.abs(expected).max(initial=1))


def test_emit_c_writes_the_text(example: Example, tmp_path: Path) -> None:
    report = emit_c_text(example.path, output=tmp_path / "m.c", target="x86-64-v3")
    text = (tmp_path / "m.c").read_text()
    assert text.count("\nint32_t ") == 2 * report.kernels  # each declared, then defined
