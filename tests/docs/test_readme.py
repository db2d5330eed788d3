"""The README's Python, shell and C do what they say, on a model of the shape that they speak of."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import headrace.runtime
from headrace.compiler.frontends.onnx.reading import OLDEST_OPSET
from headrace.ir.graph.importing import importers

README = (Path(__file__).parents[2] / "README.md").read_text()
RUNTIME = Path(headrace.runtime.__path__[0])


def block(language: str) -> str:
    """The one fenced block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert isinstance(found, str)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m.onnx: the mean of each of three channels, for x f32[1, 3, 224, 224] as declared."""
    place = tmp_path_factory.mktemp("readme")
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"], name="mean")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (place / "m.onnx").write_bytes(model.SerializeToString())
    return place


def test_python(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block("python")], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "shape=('batch', 3, 224, 224)" in done.stdout


def test_command_line(folder: Path) -> None:
    lines = re.findall(r"`headrace ((?:compile|run) [^`]*)`", README)
    assert {line.split()[0] for line in lines} == {"compile", "run"}
    np.save(folder / "x.npy", np.ones((2, 3, 224, 224), np.float32))
    for line in sorted(dict.fromkeys(line for line in lines if "m.onnx" in line or "m.hrm" in line)):
        command = [sys.executable, "-m", "headrace", *line.split()]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


def test_c(folder: Path, require_tool: Callable[[str], str]) -> None:
    gcc = require_tool("gcc")
    subprocess.run([sys.executable, "-c", block("python")], cwd=folder, check=True, capture_output=True, timeout=120)
    (folder / "m.c").write_text(block("c"))
    library = next(p for p in RUNTIME.rglob("libheadrace.so"))
    include = next(p for p in RUNTIME.rglob("headrace.h")).parent
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{include}", f"-L{library.parent}"]
    rpath = f"-Wl,-rpath,{library.parent}"
    subprocess.run([gcc, *flags, "m.c", "-lheadrace", rpath, "-o", "m"], cwd=folder, check=True, timeout=60)
    done = subprocess.run(["./m"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_number_of_operators() -> None:
    count = len({(importer.domain, importer.op_type) for importer in importers()})
    assert f"opsets {OLDEST_OPSET} to {onnx.defs.onnx_opset_version()}: {count} operators" in README
