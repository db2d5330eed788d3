"""Memory of a session whose shapes keep changing: what `memory_needed` says is the most that stays."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import compile
from headrace.runtime.python import load

# What stays is anonymous memory: pages of the file's constants are the file's, and come as tokens touch them.
RUNS = """
import json, sys
import numpy as np
from headrace.runtime.python import load

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:"))

session = load(sys.argv[1], threads=1)
ranges = json.loads(sys.argv[2])
rng = np.random.default_rng(5)

def drawn(symbols):
    dims = {p.name: [symbols.get(d, d) for d in p.shape] for p in session.inputs}
    return {p.name: np.ones(dims[p.name], p.dtype) for p in session.inputs}

session.run(drawn({symbol: low for symbol, (low, _) in ranges.items()}))
before, needed = resident(), 0
for _ in range(1000):
    inputs = drawn({symbol: int(rng.integers(low, high)) for symbol, (low, high) in ranges.items()})
    needed = max(needed, session.memory_needed({name: x.shape for name, x in inputs.items()}))
    found = session.run(inputs)
    assert all(np.isfinite(y).all() for y in found.values())
del found, inputs
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


@dataclass(frozen=True)
class Model:
    """`shapes`: those to compile it for; `ranges`: of each symbol, from and below."""

    path: Callable[[Path], Path]
    ranges: dict[str, tuple[int, int]]
    shapes: dict[str, list[int | str]] | None = None


def _real(name: str) -> Path:
    folder = os.environ.get("HEADRACE_MODELS")
    if folder is None:
        pytest.skip("HEADRACE_MODELS names no folder with real models")
    return Path(folder) / f"{name}.onnx"


MODELS = {
    "convolutions": Model(
        lambda folder: convolutions(folder / "m.onnx"), {"batch": (1, 9), "h": (3, 97), "w": (3, 97)}
    ),
    "digits": Model(lambda _: model_path(), {"batch": (1, 300)}),
    "mnist": Model(lambda _: _real("mnist"), {"batch": (1, 70)}, {"image": ["batch", 1, 28, 28]}),
    "minilm": Model(lambda _: _real("minilm_l6_int8w"), {"batch": (1, 4), "sequence": (1, 33)}),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_planned_is_what_is_taken(name: str, threads: int, tmp_path: Path) -> None:
    """To the byte; outputs, which the session lends, come on top."""
    model = MODELS[name]
    compile(model.path(tmp_path), output=tmp_path / "m.hrm", shapes=model.shapes)
    rng = np.random.default_rng(6)
    for _ in range(5):
        session = load(tmp_path / "m.hrm", threads=threads, record=True)
        symbols = {symbol: int(rng.integers(low, high)) for symbol, (low, high) in model.ranges.items()}
        inputs = {p.name: np.ones([symbols.get(str(d), d) for d in p.shape], p.dtype) for p in session.inputs}
        before = session.memory_taken().held_bytes
        lent = sum(y.nbytes for y in session.run(inputs).values())
        needed = session.memory_needed({name: x.shape for name, x in inputs.items()})
        assert session.memory_taken().held_bytes - before == needed + lent


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="the resident set is read from /proc")
@pytest.mark.parametrize("name", MODELS)
def test_a_thousand_random_shapes(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    compile(model.path(tmp_path), output=tmp_path / "m.hrm", shapes=model.shapes)
    command = [sys.executable, "-c", RUNS, str(tmp_path / "m.hrm"), json.dumps(model.ranges)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout)
    assert found["needed"] > 1 << 16
    assert found["kept"] <= found["needed"] + (10 << 20), found
