"""The NPU's driver: the conformance suite, and what it says when something is wrong."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from npu_plugin import PLUGIN, ROOT, Installed
from onnx import TensorProto, helper

import headrace.runtime
from headrace.runtime.python import HeadraceRuntimeError
from headrace.runtime.python.calling import open_driver

SUPPORT = ROOT / "tests/support"
MAGIC = 0x3155504E
SET, LOOP, END, LOAD, VECTOR, MATMUL = 1, 10, 11, 12, 15, 16


def test_it_conforms(npu: Installed) -> None:
    said = npu.headrace("conform", "npu")
    assert "WRONG" not in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith("graph.")}
    run = {name for name, cells in rows.items() if "ok" in cells}
    assert {"graph.matmul", "graph.add", "graph.relu", "graph.squared_relu"} <= run
    assert "refused: graph.exp f32: its vector unit has no kernel.exp" in said


def relu(path: Path) -> Path:
    node = helper.make_node("Relu", ["x"], ["y"], "relu")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_its_words_reach_the_user(npu: Installed, tmp_path: Path) -> None:
    npu.headrace("compile", relu(tmp_path / "m.onnx"), "-o", tmp_path / "m.hrm", "--target", "npu")
    for name, elements in (("few", 100), ("many", 20_000_000)):
        np.save(tmp_path / f"{name}.npy", np.zeros(elements, np.float32))
    run = ("run", tmp_path / "m.hrm", "--output", f"y={tmp_path}/y.npy", "--input")
    found = npu.refused(*run, f"x={tmp_path}/few.npy", "--device", "npu:7")
    assert found == "headrace: npu: there is no device '7'; there is one, 0"
    found = npu.refused(*run, f"x={tmp_path}/many.npy")
    assert found.endswith("npu: 80000000 bytes wanted, 0 of 67108864 taken")
    npu.headrace(*run, f"x={tmp_path}/few.npy")


def test_a_model_that_needs_a_cpu_too(npu: Installed, tmp_path: Path) -> None:
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"], "mean")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    compiled = ("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--target")
    found = npu.refused(*compiled, "npu")
    why = "it has units for products of matrices and for elementwise operations only"
    assert found == f"headrace: node 'mean': graph.reduce does not run on npu: {why}; npu+host runs it on the CPU"
    found = npu.refused(*compiled, "npu", "--after", "graph.cluster=graph.dce")
    assert found == "headrace: kernel.schedule: npu: node 'mean': its kernel sums up something else than products"
    npu.headrace(*compiled, "npu+x86-64-v3")


def test_a_kernel_that_it_has_no_instruction_for(npu: Installed, tmp_path: Path) -> None:
    """A pipeline that leaves loops, as those of CPUs do, is not for its emitter."""
    relu(tmp_path / "m.onnx")
    pipeline = "graph.cluster, kernel.lower, program.plan-memory, kernel.realize"
    found = npu.refused(
        "compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--target", "npu", "--pipeline", pipeline
    )
    assert found == "headrace: npu: kernel.load at 'relu' has no instruction"


def code(*instructions: tuple[int, ...]) -> bytes:
    """One kernel."""
    words = [w for row in instructions for w in row + (0,) * (16 - len(row))]
    return struct.pack(f"<3I{len(words)}I", MAGIC, 1, len(instructions), *words)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (b"\x7fELF" * 4, "npu: the code section is for another device"),
        (code((SET, 0))[:-4], "npu: kernel 0 of 1 does not lie in the code section"),
        (code((SET, 0)) + bytes(4), "npu: the code section has something behind its last kernel"),
        (code((99,)), "npu: kernel 0, instruction 0: there is no opcode 99"),
        (code((SET, 256)), "npu: kernel 0, instruction 0: SET names a register that there is not"),
        (code((SET, 1, 2, 3, 4)), "npu: kernel 0, instruction 0: SET has words that it does not use"),
        (code((SET, 1), (END,)), "npu: kernel 0, instruction 1: END ends no loop"),
        (code((LOOP, 1, 2)), "npu: kernel 0: a loop has no end"),
        (code(*[(LOOP, 1, 2)] * 9), "npu: kernel 0, instruction 8: LOOP is inside of too many loops"),
        (code((LOAD, 0, 0, 0, 0, 0, 0, 16000, 64, 1, 16, 64)), "npu: kernel 0, instruction 0: LOAD leaves the scratchpad"),
        (code((VECTOR, 1, *(0, 64, 1) * 3, 17, 64)), "npu: kernel 0, instruction 0: VECTOR has a tile that is empty, or larger than the units"),
        (code((VECTOR, 7, *(0, 64, 1) * 3, 16, 64)), "npu: kernel 0, instruction 0: VECTOR has no such function"),
        (code((MATMUL, *(0, 64, 1) * 3, 16, 64, 0)), "npu: kernel 0, instruction 0: MATMUL has a tile that is empty, or larger than the units"),
        (code((MATMUL, 0, 64, 1, 0, 1024, 1, 0, 64, 1, 16, 64, 16)), None),
        (code((MATMUL, 0, 64, 1, 0, 1092, 1, 0, 64, 1, 16, 64, 16)), "npu: kernel 0, instruction 0: MATMUL leaves the scratchpad"),
    ],
)  # fmt: skip
def test_programs_are_checked_when_they_are_loaded(npu: Installed, image: bytes, text: str | None) -> None:
    device = open_driver("npu", [npu.driver]).open()
    try:
        if text is None:
            device.module_unload(device.module_load(image))
        else:
            with pytest.raises(HeadraceRuntimeError) as raised:
                device.module_load(image)
            assert str(raised.value) == text
    finally:
        device.close()


RANDOM = """
import dataclasses, sys
from headrace_npu.target import TARGET
from random_graphs.differential import compared
from random_graphs.graphs import random_graph

TARGET.presets["npu"] = dataclasses.replace(TARGET.presets["npu"], copy_worth=0.0)  # whatever it can take, it gets
for seed in range(*map(int, sys.argv[1:])):
    if wrong := compared(random_graph(seed), "npu+x86-64-v3"):
        print(seed, wrong)
"""


@pytest.mark.slow
def test_random_graphs(npu: Installed) -> None:
    done = npu.run("-c", f"import sys; sys.path.append({str(SUPPORT)!r})\n{RANDOM}", 300, 400)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_driver_leaves_nothing_behind(npu: Installed, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Under sanitizers: a run, and one that finds no memory."""
    gcc = require_tool("gcc")
    flags = ["-std=c11", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    sources = sorted((PLUGIN / "headrace_npu/driver").glob("*.c"))
    library = tmp_path / "libnpu.so"
    command = [gcc, *flags, f"-I{ROOT / 'runtime/include'}", *sources, "-o", library]
    subprocess.run([str(c) for c in command], check=True)
    npu.headrace("compile", relu(tmp_path / "m.onnx"), "-o", tmp_path / "m.hrm", "--target", "npu")
    runner = next(
        p for p in (Path(headrace.runtime.__path__[0]), Path(sys.executable).parent) if (p / "headrace-run").exists()
    )
    preload = subprocess.run([gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    for elements, said in ((100, ""), (20_000_000, "80000000 bytes wanted, 0 of 67108864 taken")):
        np.save(tmp_path / "x.npy", np.zeros(elements, np.float32))
        arguments = [
            tmp_path / "m.hrm",
            "--driver",
            library,
            "--input",
            f"x={tmp_path}/x.npy",
            "--output-dir",
            tmp_path,
        ]
        done = subprocess.run(
            [str(a) for a in (runner / "headrace-run", *arguments)],
            env={**os.environ, "LD_PRELOAD": preload.strip()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Sanitizer" not in done.stderr
        assert done.returncode == (2 if said else 0)
        assert said in done.stderr
