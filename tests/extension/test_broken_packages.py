"""Packages that are out of order: one line that names them, and nobody else is kept from working."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from headrace import targets
from headrace.compiler.cli import main
from headrace.ir import pass_registry

WHOLE = """
import dataclasses
from headrace.targets import opencl

FACTS = dataclasses.replace(opencl.TARGET.presets["opencl"], preset="chip")
TARGET = dataclasses.replace(opencl.TARGET, family="chip", presets={"chip": FACTS})
"""
Package = Callable[[str], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Installs a package `chip_package` with a target `chip`, which consists of a text."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(text: str) -> None:
        (tmp_path / "chip_package.py").write_text(text)
        point = EntryPoint("chip", "chip_package:TARGET", targets.GROUP)
        monkeypatch.setattr(targets, "entry_points", lambda group: [point])
        monkeypatch.delitem(__import__("sys").modules, "chip_package", raising=False)
        targets._found.cache_clear()

    yield install
    targets._found.cache_clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("TARGETS = 3", "AttributeError: module 'chip_package' has no attribute 'TARGET'"),
        ("TARGET = 3", "it has no driver, emit, family"),
        (WHOLE.replace('preset="chip"', 'preset="other"'), "the facts of its preset 'chip' are those of 'other'"),
        (WHOLE.replace('family="chip"', 'family="chip", machine="dsp"'), "its machine is 'dsp'"),
    ],
)
def test_a_target_that_is_none_is_told_where_it_is_asked_for(
    text: str, wrong: str, package: Package, model: Path, capsys: Any
) -> None:
    package(text)
    out = model.with_name("m.hrm")
    assert main(["compile", str(model), "-o", str(out), "--target", "chip"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"headrace: target 'chip': chip_package:TARGET of an installed package is no target: {wrong}"
    )
    assert main(["targets"]) == 0
    assert f"chip: chip_package:TARGET of an installed package is no target: {wrong}" in capsys.readouterr().out
    assert main(["compile", str(model), "-o", str(out), "--target", "x86-64-v2"]) == 0


@pytest.mark.parametrize(
    ("emit", "wrong"),
    [
        ("{}['x']", "its emitter fails: KeyError: 'x'"),
        ("return Emitted(b'', {}, {})", "its emitter gives no entries for kernel 'relu'"),
    ],
)
def test_an_emitter_that_fails_is_one_line(emit: str, wrong: str, package: Package, model: Path, capsys: Any) -> None:
    body = f"from headrace.targets.base import Emitted\n\ndef emit(functions, facts):\n    {emit}\n"
    package(body + WHOLE.replace('family="chip"', 'family="chip", emit=emit'))
    out = model.with_name("m.hrm")
    assert main(["compile", str(model), "-o", str(out), "--target", "chip"]) == 2
    assert capsys.readouterr().err == f"headrace: target chip: {wrong}\n"
    assert not out.exists()


def test_a_pass_that_cannot_be_imported_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    point = EntryPoint("graph.mine", "no_such_package.mine", pass_registry.GROUP)
    monkeypatch.setattr(pass_registry, "_outside", lambda: {point.name: point})
    arguments = ["compile", str(model), "-o", str(tmp_path / "m.hrm"), "--after", "graph.cluster=graph.mine"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "headrace: pass graph.mine: no_such_package.mine of an installed package cannot be imported: "
    )
