"""docs/add-a-device.md: its commands run one after the other, from a folder with the example and a model in it.

What stands below a command is in what it says; what it shows of a file is there.  `...` stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doc_blocks import fenced, occurs, page
from npu_plugin import PLUGIN, copy_plugin
from onnx import TensorProto, helper, numpy_helper

PAGE = page("add-a-device.md")
SHOWN = {"toml": ["pyproject.toml"], "python": ["headrace_npu/*.py"], "c": ["headrace_npu/driver/isa.h"]}
# What pip would have to be told where there is no network, and where nothing is to be installed.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}


def model(path: Path) -> None:
    """A dense layer with a bias, a relu and a softmax, for any number of rows."""
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((50, 70), np.float32), rng.standard_normal(70, np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "fc"),
        helper.make_node("Add", ["p", "b"], ["h"], "bias"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Softmax", ["r"], ["y"], "softmax"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 50])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 70])
    weights = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())


def steps() -> list[tuple[str, str]]:
    """Each command with what stands below it."""
    found: list[tuple[str, str]] = []
    for block in fenced(PAGE, "console"):
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            found.append((command, said))
    return found


def test_the_tutorial(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    for tool in ("cc", "git"):
        require_tool(tool)
    copy_plugin(tmp_path)
    model(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.ones((37, 50), np.float32))
    (diff,) = fenced(PAGE, "diff")
    (tmp_path / "abs.diff").write_text(diff)
    # `headrace`, `pip` and `python` are this Python's.
    (tmp_path / "bin").mkdir()
    for name, text in (("headrace", "-m headrace"), ("pip", "-m pip"), ("python", "")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {text} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    site = tmp_path / "site"
    environment = {
        **os.environ,
        **OFFLINE,
        "PIP_TARGET": str(site),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    marker = "-- next command --"
    script = "set -e\n" + "".join(f"{command}\necho '{marker}'\n" for command, _ in steps())
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    said = done.stdout.split(f"{marker}\n")
    assert len(said) == len(steps()) + 1
    for (command, shown), found in zip(steps(), said, strict=False):
        assert occurs(shown, found), f"$ {command}\n{found}"


@pytest.mark.parametrize("language", SHOWN)
def test_what_is_shown_of_a_file_is_there(language: str) -> None:
    files = [p.read_text() for pattern in SHOWN[language] for p in sorted(PLUGIN.glob(pattern))]
    blocks = fenced(PAGE, language)
    assert blocks
    for block in blocks:
        assert any(occurs(block, text) for text in files), block
