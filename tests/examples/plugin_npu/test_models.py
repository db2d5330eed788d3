"""Models whose products of matrices run on the NPU, and the rest on a CPU, against ONNX Runtime and numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from model_examples import assert_close, example_named
from npu_plugin import Installed
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
TARGET = "npu+x86-64-v3"


def test_it_is_listed(npu: Installed) -> None:
    rows = [line.split() for line in npu.headrace("targets").splitlines()]
    assert ["npu", "any", "2048", "bits", "npu"] in rows
    passes = npu.headrace("opt", "--list-passes")
    assert "graph.npu-square-relu" in passes
    assert "kernel.npu-stage" in passes


def test_the_demo_s_model(npu: Installed, tmp_path: Path) -> None:
    """Its dense layers, for each batch by the same file."""
    digits = example_named("digits")
    said = npu.headrace("compile", digits.path, "-o", tmp_path / "m.hrm", "--target", TARGET, "--explain-placement")
    lines = said.splitlines()
    dense = [line for line in lines if "graph.matmul" in line]
    assert dense
    assert all(": graph.matmul on npu: it takes the operation; " in line for line in dense)
    conv = next(n for n, line in enumerate(lines) if "graph.conv on x86-64-v3" in line)
    assert (
        lines[conv + 1] == "    not on npu: it has units for products of matrices and for elementwise operations only"
    )
    for batch in digits.batches:
        inputs = digits.inputs(batch)
        np.save(tmp_path / "x.npy", inputs["image"])
        arguments = ["--input", f"image={tmp_path}/x.npy", "--output-dir", tmp_path / "out"]
        assert "ran on npu" in npu.headrace("run", tmp_path / "m.hrm", *arguments)
        assert_close(np.load(tmp_path / "out/probabilities.npy"), digits.expected(inputs)[0])


def two_layers(path: Path, activation: list[onnx.NodeProto]) -> tuple[Array, Array, Array]:
    """x[n, 131] @ w + b, an activation from `h` to `a`, @ v; softmax: sizes that no tile divides."""
    rng = np.random.default_rng(3)
    w, b, v = (rng.standard_normal(shape, np.float32) / 8 for shape in ((131, 97), (97,), (97, 13)))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "first"),
        helper.make_node("Add", ["p", "b"], ["h"], "bias"),
        *activation,
        helper.make_node("MatMul", ["a", "v"], ["q"], "second"),
        helper.make_node("Softmax", ["q"], ["y"], "softmax"),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", ["n", 131]), ("y", None))
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in zip("wbv", (w, b, v), strict=True)]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("npu.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return w, b, v


SQUARED = [helper.make_node("Relu", ["h"], ["r"], "relu"), helper.make_node("Mul", ["r", "r"], ["a"], "square")]
CUSTOM = [helper.make_node("SquaredRelu", ["h"], ["a"], "squared", domain="npu.example")]


@pytest.mark.parametrize("activation", [SQUARED, CUSTOM], ids=["pass", "custom op"])
def test_the_pass_and_the_op(npu: Installed, tmp_path: Path, activation: list[onnx.NodeProto]) -> None:
    """The pass makes of two operators what the other model has as one: then both are the same."""
    w, b, v = two_layers(tmp_path / "m.onnx", activation)
    compiled = ("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--target", TARGET)
    said = npu.headrace(
        *compiled,
        "--require-device",
        "npu:[!s]*",
        "--verify-each=semantic",
        "--print-ir-after",
        "graph.npu-square-relu",
    )
    assert "(100.0 %)" in said
    assert said.count("graph.squared_relu") == 1
    assert "graph.mul" not in said
    for rows in (1, 67):
        x = np.random.default_rng(rows).standard_normal((rows, 131), np.float32)
        np.save(tmp_path / "x.npy", x)
        npu.headrace("run", tmp_path / "m.hrm", "--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy")
        q = (np.maximum(x.astype(np.float64) @ w + b, 0) ** 2) @ v
        e = np.exp(q - q.max(1, keepdims=True))
        assert_close(np.load(tmp_path / "y.npy"), e / e.sum(1, keepdims=True))


def test_it_runs_on_a_cpu_as_well(npu: Installed, tmp_path: Path) -> None:
    """The custom operation is declared once."""
    two_layers(tmp_path / "m.onnx", CUSTOM)
    npu.headrace("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--target", f"{TARGET},x86-64-v3")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((5, 131), np.float32))
    for device in ("npu", "cpu"):
        arguments = ["--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/{device}.npy"]
        npu.headrace("run", tmp_path / "m.hrm", "--device", device, *arguments)
    assert_close(np.load(tmp_path / "npu.npy"), np.load(tmp_path / "cpu.npy"))


def test_the_same_bytes(npu: Installed, tmp_path: Path) -> None:
    digits = example_named("digits")
    for name in ("a", "b"):
        npu.headrace("compile", digits.path, "-o", tmp_path / name, "--target", TARGET)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_read_by_a_product_may_be_computed_first(npu: Installed, tmp_path: Path) -> None:
    """A relu that a product of one column takes into its own step: the vector unit makes the matrix unit's factor."""
    nodes = [helper.make_node("Relu", ["x"], ["a"], "relu"), helper.make_node("MatMul", ["a", "w"], ["y"], "product")]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("x", ["n", 37]), ("w", [37, 1]), ("y", None))
    ]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    said = npu.headrace(
        "compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--target", "npu", "--verify-each=semantic"
    )
    assert ": 1 kernels for npu" in said
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((19, 37), (37, 1)))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "w.npy", w)
    inputs = ["--input", f"x={tmp_path}/x.npy", "--input", f"w={tmp_path}/w.npy"]
    npu.headrace("run", tmp_path / "m.hrm", *inputs, "--output", f"y={tmp_path}/y.npy")
    assert_close(np.load(tmp_path / "y.npy"), np.maximum(x, 0) @ w)
