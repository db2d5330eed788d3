"""compile(): what it reports, what it writes down, and that a failure leaves the old file as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.codegen.artefact.reader import read
from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import compile, emit_c_text
from headrace.ir.errors import HeadraceError
from headrace.ir.pipeline import Pipeline
from headrace.runtime.python import load
from headrace.targets import find_target

TARGET = "x86-64-v3"
HIR = """
graph.func @main(%x: f32[n, 5]) {input_names = ["x"], output_names = ["y"]} {
  %y = graph.relu %x : f32[n, 5]
  graph.return %y
}
"""
UNPLANNED = "graph.decompose,graph.cluster,kernel.lower,kernel.realize,kernel.expand-math"


def metadata(path: Path) -> dict[str, str]:
    return dict(read(path).artefact.metadata)


def test_report(tmp_path: Path) -> None:
    report = compile(model_path(), output=tmp_path / "m.hrm", target=[TARGET, "aarch64"])
    assert report.targets == (TARGET, "aarch64")
    assert report.artefact_bytes == (tmp_path / "m.hrm").stat().st_size
    assert [name for name, _ in report.stages] == ["import", "passes", "code", "write"]
    assert all(seconds >= 0 for _, seconds in report.stages)
    assert report.kernels == sum(len(v.kernels) for v in read(tmp_path / "m.hrm").artefact.variants)
    pipeline = {step.name for step in Pipeline.read(find_target(TARGET)[1].pipeline()).steps}
    assert {t.step.name for t in report.passes} >= {"graph.cluster", "kernel.tile", "kernel.expand-math"}
    assert all(t.step.name in pipeline or t.step.name.startswith("kernel.") for t in report.passes)


def test_metadata_says_how_it_was_made_and_not_where(tmp_path: Path) -> None:
    (tmp_path / "mine.pipeline").write_text(find_target(TARGET)[1].pipeline().read_text())
    compile(
        model_path(),
        output=tmp_path / "m.hrm",
        target=TARGET,
        shapes={"image": ("rows", 1, 8, 8)},
        pipeline=str(tmp_path / "mine.pipeline"),
    )
    found = metadata(tmp_path / "m.hrm")
    assert found["source"] == "sha256:" + hashlib.sha256(model_path().read_bytes()).hexdigest()
    assert found["targets"] == TARGET
    assert found["shape image"] == "rows,1,8,8"
    assert found["pipeline"].startswith("graph.propagate-shapes,graph.decompose,")
    assert str(tmp_path) not in "".join(found.values())


def test_a_hir_of_ones_own_comes_from_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_text(HIR)
    compile(tmp_path / "m.hir", output=tmp_path / "m.hrm")
    assert "source" not in metadata(tmp_path / "m.hrm")
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)
    np.testing.assert_array_equal(load(tmp_path / "m.hrm").run({"x": x})["y"], np.maximum(x, 0))


def test_shapes_override_the_declared_ones(tmp_path: Path) -> None:
    compile(model_path(), output=tmp_path / "m.hrm", shapes={"image": (3, 1, 8, 8)})
    (port,) = load(tmp_path / "m.hrm").inputs
    assert port.shape == (3, 1, 8, 8)


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({"target": []}, "no target given; name one, or host"),
    "unknown target": ({"target": "host,arm64"}, "unknown target 'arm64'; did you mean 'aarch64'?"),
    "unknown pass": ({"pipeline": "graph.dec"}, "unknown pass 'graph.dec'; did you mean 'graph.dce'?"),
    "no such pipeline": ({"pipeline": "no.pipeline"}, "no.pipeline: no such file or directory"),
    "pipeline too short": ({"pipeline": "graph.dce"}, "left 0 program functions, expected one; does it run kernel.lower?"),
    "no loops": ({"pipeline": "graph.decompose,graph.cluster,kernel.lower,program.plan-memory"}, "run kernel.realize"),
    "no plan": ({"pipeline": UNPLANNED}, "has no offset; run program.plan-memory"),
    "unknown input": ({"shapes": {"imag": (1, 1, 8, 8)}}, "shape for 'imag', which is no input; did you mean 'image'?"),
    "wrong rank": ({"shapes": {"image": (1, 8, 8)}}, "shape [1, 8, 8] has rank 3, the model's is 4"),
    "no such model": ({"model": "none.onnx"}, "none.onnx: cannot be read: no such file or directory"),
}


@pytest.mark.parametrize(("options", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_failures_leave_the_old_file(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    output = tmp_path / "m.hrm"
    output.write_bytes(b"old")
    with pytest.raises(HeadraceError) as caught:
        compile(**({"model": model_path(), "output": output} | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert output.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.hrm"]


@pytest.mark.parametrize("stage", [compile, emit_c_text])
def test_shapes_of_a_hir_are_its_own(stage: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_text(HIR)
    with pytest.raises(HeadraceError, match=r"m\.hir: shapes are set when an ONNX model is imported"):
        stage(tmp_path / "m.hir", output=tmp_path / "m.out", shapes={"x": (1, 5)})


def test_c_text_is_for_one_target(tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=f"^C text is for one target; found {TARGET}, aarch64$"):
        emit_c_text(model_path(), output=tmp_path / "m.c", target=f"{TARGET},aarch64")
    assert not list(tmp_path.iterdir())
