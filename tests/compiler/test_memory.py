"""Memory of a session whose shapes keep changing: what `memory_needed` says is the most that stays."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile

RUNS = """
import json, sys
import numpy as np
from headrace.runtime.python import load

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))

session = load(sys.argv[1], threads=1)
rng = np.random.default_rng(5)
session.run({"x": np.ones((1, 2, 8, 8), np.float32)})
before, needed = resident(), 0
for _ in range(1000):
    shape = (int(rng.integers(1, 9)), 2, *(int(n) for n in rng.integers(3, 97, 2)))
    needed = max(needed, session.memory_needed({"x": shape}))
    y = session.run({"x": np.ones(shape, np.float32)})["y"]
    assert y.shape == (shape[0], 4) and np.isfinite(y).all()
del y
print(json.dumps({"needed": needed, "kept": resident() - before}))
"""


def convolutions(path: Path) -> Path:
    """Three convolutions of f32[batch, 2, h, w] and their mean: the arena depends on three dims."""
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(s).astype(np.float32) * 0.1 for s in ((8, 2, 3, 3), (8, 8, 3, 3), (4, 8, 3, 3))]
    names = ["x", "a", "b", "c"]
    nodes = [
        helper.make_node("Conv", [names[i], f"w{i}"], [names[i + 1]], name=f"conv{i}", pads=[1, 1, 1, 1])
        for i in range(3)
    ]
    nodes += [helper.make_node("ReduceMean", ["c"], ["y"], name="mean", axes=[2, 3], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.skipif(platform.system() != "Linux", reason="the resident set is read from /proc")
def test_a_thousand_random_shapes(tmp_path: Path) -> None:
    compile(convolutions(tmp_path / "m.onnx"), output=tmp_path / "m.hrm")
    command = [sys.executable, "-c", RUNS, str(tmp_path / "m.hrm")]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)
    assert found["needed"] > 1 << 20
    assert found["kept"] <= found["needed"] + (10 << 20), found
