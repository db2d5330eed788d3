"""docs/add-a-target.md: its commands and its Python run, in an empty folder with a model and the driver to copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doc_blocks import commands, fenced, page
from null_driver import NULL
from onnx import TensorProto, helper

PAGE = page("add-a-target.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float32))
    shutil.copy(NULL, tmp_path)
    return tmp_path


def test_the_driver_builds_and_runs_a_model(folder: Path, require_tool: Any) -> None:
    require_tool("cc")
    lines = commands(PAGE)
    assert len(lines) == 4
    # `headrace` is this Python's, whether it is installed as a command or not.
    (folder / "bin").mkdir()
    for name, text in (
        ("headrace", f'exec "{sys.executable}" -m headrace "$@"'),
        ("python", f'exec "{sys.executable}" "$@"'),
    ):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(
            line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert done.stdout.splitlines()[-1].split()[:2] == ["graph.relu", "ok"]


def test_the_simulator_runs(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "headrace", "compile", "m.onnx", "-o", "m.hrm"], cwd=folder, check=True)
    (script,) = fenced(PAGE, "python")
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
