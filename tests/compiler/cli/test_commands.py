"""Commands that need no model of their own: version, help, progress, and what they print."""

from __future__ import annotations

import io
import json
import re
import runpy
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from headrace.compiler import progress as progress_module
from headrace.compiler.progress import progress

ROOT = Path(__file__).resolve().parents[3]
HIR = """module {
  graph.func @main(%x: f32[n]) {input_names = ["x"], output_names = ["y"]} {
    %y = graph.relu %x : f32[n]
    graph.return %y
  }
}
"""


def run(*arguments: str, script: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    how = ["-m", "headrace"] if script is None else ["-c", script]
    return subprocess.run([sys.executable, *how, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_version() -> None:
    """The one of pyproject.toml."""
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"headrace, version {declared_version()}\n", "")


def test_version_of_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    assert runpy.run_path(str(ROOT / "compiler" / "version.py"))["VERSION"] == declared_version()


def declared_version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def test_help_is_quick() -> None:
    """It asks every command for its line of help, and imports nothing large for that."""
    script = """
import sys
from headrace.compiler.cli import main
main(["--help"])
print(sorted({name.partition(".")[0] for name in sys.modules} & {"lark", "llvmlite", "onnx", "rich"}))
"""
    done = run(script=script)
    assert done.returncode == 0, done.stderr
    assert "compile" in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_opt_prints_the_text_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_text(HIR)
    done = run("opt", "m.hir", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, HIR, "")


def test_c_text_of_no_kernels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_text(HIR)
    done = run("compile", "m.hir", "-o", "m.c", "--emit", "c", "--pipeline", "graph.dce", cwd=tmp_path)
    message = "m.hir: no kernel to write as C: the passes left none; do they run kernel.lower?"
    assert (done.returncode, done.stderr) == (2, f"headrace: {message}\n")
    assert not (tmp_path / "m.c").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("work", "shown"), [(0.0, False), (0.5, True)])
def test_progress_within_one_pass(work: float, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It appears after a while, though no pass has ended; and not at all for what is quick."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_module, "PATIENCE", 0.1)
    monkeypatch.setenv("TERM", "xterm")
    with progress("compiling m.onnx") as observe:
        assert observe is not None
        time.sleep(work)
    assert ("compiling m.onnx" in re.sub(r"\x1b\[[^m]*m", "", terminal.getvalue())) is shown


def test_no_progress_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_module, "PATIENCE", 0.0)
    with progress("compiling m.onnx") as observe:
        assert observe is None
        time.sleep(0.1)
    assert stream.getvalue() == ""


def test_nodes_that_cannot_be_compiled_as_json(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="first", domain="my.own"),
        helper.make_node("Softmaxx", ["x"], ["y"], name="second"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = run("compile", "m.onnx", "-o", "m.hrm", "--json", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    common = {"inputs": ["f32[n, 3]"]}
    assert json.loads(found.stdout) == [
        common | {"name": "first", "op": "Foo", "domain": "my.own", "opset": 1, "reason": "no such operator"},
        common
        | {
            "name": "second",
            "op": "Softmaxx",
            "domain": "",
            "opset": 17,
            "reason": "no such operator; did you mean 'Softmax'?",
        },
    ]
