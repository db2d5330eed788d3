"""LSTM, GRU and RNN nodes, compiled and run, against ONNX Runtime: every direction, option and group size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from headrace.compiler.driver import read_model, run_passes
from headrace.errors import HeadraceError
from headrace.ir.pass_manager import Hooks
from headrace.ir.semantic import SemanticCheck
from headrace.runtime.python import load
from headrace.targets import find_target

Array = np.ndarray[Any, Any]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FEATURES = 5
SIZES = ((1, 1), (7, 3), (3, 6), (2, 8))  # (steps, batch): every remainder of a group

CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "lstm": ("LSTM", 40, {}),
    "lstm_one_tile": ("LSTM", 64, {"direction": "bidirectional"}),
    "lstm_reverse_clip": ("LSTM", 5, {"direction": "reverse", "clip": 0.3}),
    "lstm_coupled": ("LSTM", 12, {"direction": "bidirectional", "input_forget": 1}),
    "lstm_functions": ("LSTM", 9, {"activations": ["HardSigmoid", "Softsign", "LeakyRelu"]}),
    "gru": ("GRU", 40, {"direction": "bidirectional"}),
    "gru_reset_behind": ("GRU", 12, {"direction": "bidirectional", "linear_before_reset": 1}),
    "gru_functions": (
        "GRU",
        7,
        {"activations": ["Sigmoid", "ScaledTanh"], "activation_alpha": [0.5], "activation_beta": [0.75]},
    ),
    "rnn": ("RNN", 17, {"direction": "reverse"}),
    "rnn_two_functions": ("RNN", 6, {"direction": "bidirectional", "activations": ["Elu", "Relu"]}),
}


def model(op_type: str, hidden: int, attributes: dict[str, Any], *, optional: bool = True) -> onnx.ModelProto:
    """A node with weights inside; lengths and initial states are inputs, or left out."""
    rng = np.random.default_rng(5)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    width = GATES[op_type] * hidden
    shapes = {"w": (directions, width, FEATURES), "r": (directions, width, hidden), "b": (directions, 2 * width)}
    if op_type == "LSTM":
        shapes["p"] = (directions, 3 * hidden)
    constants = [numpy_helper.from_array(rng.uniform(-0.5, 0.5, s).astype(np.float32), n) for n, s in shapes.items()]
    inputs = {"x": ("steps", "n", FEATURES)}
    operands = ["x", "w", "r", "b"]
    if optional:
        states = ["h", "c"] if op_type == "LSTM" else ["h"]
        inputs |= {"lengths": ("n",)} | dict.fromkeys(states, (directions, "n", hidden))
        operands += ["lengths", *states, *(["p"] if op_type == "LSTM" else [])]
    outputs = ["y", "y_h", "y_c"][: 3 if op_type == "LSTM" else 2]
    graph = helper.make_graph(
        [helper.make_node(op_type, operands, outputs, "cell", hidden_size=hidden, **attributes)],
        "g",
        [
            helper.make_tensor_value_info(n, TensorProto.INT32 if n == "lengths" else TensorProto.FLOAT, d)
            for n, d in inputs.items()
        ],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def inputs_of(proto: onnx.ModelProto, steps: int, batch: int) -> dict[str, Array]:
    rng = np.random.default_rng(steps * 10 + batch)
    sizes = {"steps": steps, "n": batch}
    found: dict[str, Array] = {}
    for value in proto.graph.input:
        shape = [sizes.get(d.dim_param, d.dim_value) for d in value.type.tensor_type.shape.dim]
        if value.name == "lengths":
            found[value.name] = rng.integers(1, steps + 1, shape).astype(np.int32)
        else:
            found[value.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return found


@pytest.mark.parametrize("optional", [True, False], ids=["states", "plain"])
@pytest.mark.parametrize("name", CASES)
def test_as_onnxruntime(name: str, optional: bool, tmp_path: Path) -> None:
    """All sizes by one artefact."""
    op_type, hidden, attributes = CASES[name]
    proto = model(op_type, hidden, attributes, optional=optional)
    onnx.save(proto, tmp_path / "m.onnx")
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm", threads=2)
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for steps, batch in SIZES:
        inputs = inputs_of(proto, steps, batch)
        found = session.run(inputs)
        for label, expected in zip(found, reference.run(list(found), inputs), strict=True):
            np.testing.assert_allclose(found[label], expected, rtol=1e-5, atol=3e-6, err_msg=f"{label} {steps} {batch}")


def exported_layers() -> onnx.ModelProto:
    """Two layers as exporters write them, of 9 steps; the states' shape is computed, directions are joined."""
    rng = np.random.default_rng(8)
    sizes = {"w0": (2, 24, 5), "r0": (2, 24, 6), "b0": (2, 48), "w1": (2, 24, 12), "r1": (2, 24, 6), "b1": (2, 48)}
    text = """
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[batch, 9, 5] features) => (float[batch, 9, 12] y)
          <int64 second = {1}, int64[1] first = {0}, int64[1] two = {2}, int64[1] width = {6}, int64[3] flat = {0, 0, -1}> {
          t0 = Transpose<perm = [1, 0, 2]>(features)
          s0 = Shape(t0)
          n0 = Gather<axis = 0>(s0, second)
          m0 = Unsqueeze(n0, first)
          d0 = Concat<axis = 0>(two, m0, width)
          h0 = ConstantOfShape(d0)
          y0 = LSTM<direction = "bidirectional", hidden_size = 6>(t0, w0, r0, b0, , h0, h0)
          u0 = Transpose<perm = [0, 2, 1, 3]>(y0)
          t1 = Reshape(u0, flat)
          y1 = LSTM<direction = "bidirectional", hidden_size = 6>(t1, w1, r1, b1, , h0, h0)
          u1 = Transpose<perm = [0, 2, 1, 3]>(y1)
          v1 = Reshape(u1, flat)
          y = Transpose<perm = [1, 0, 2]>(v1)
        }"""
    proto = onnx.parser.parse_model(text)
    arrays = {n: rng.uniform(-0.5, 0.5, s).astype(np.float32) for n, s in sizes.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return proto


def test_layers_of_any_length_by_one_artefact(tmp_path: Path) -> None:
    """The shape that is given overrides the model's fixed number of steps."""
    proto = exported_layers()
    onnx.save(proto, tmp_path / "m.onnx")
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", shapes={"features": ("batch", "seq", 5)})
    session = load(tmp_path / "m.hrm", threads=2)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[1].dim_param = "seq"
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for steps in (1, 17, 64):
        for batch in (1, 3):
            x = np.random.default_rng(steps + batch).uniform(-1, 1, (batch, steps, 5)).astype(np.float32)
            (expected,) = reference.run(None, {"features": x})
            np.testing.assert_allclose(session.run({"features": x})["y"], expected, rtol=1e-5, atol=3e-6)


def test_every_pass_keeps_the_meaning(tmp_path: Path) -> None:
    """Panels, groups and versions too: interpreted after each pass, with bounds and races checked."""
    onnx.save(model("RNN", 24, {}, optional=False), tmp_path / "m.onnx")  # three panels of two vectors of 4
    check = SemanticCheck()
    preset, family = find_target("x86-64-v2")
    run_passes(
        read_model(tmp_path / "m.onnx", {"x": (2, "n", FEATURES)}),
        preset,
        family,
        None,
        Hooks(verify_each="semantic", semantic=check),
    )
    assert not check.unchecked


def test_time_of_no_length(tmp_path: Path) -> None:
    """The last state is the first one."""
    proto = model("LSTM", 8, {})
    onnx.save(proto, tmp_path / "m.onnx")
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    inputs = {**inputs_of(proto, 1, 2), "x": np.zeros((0, 2, FEATURES), np.float32)}
    found = load(tmp_path / "m.hrm").run(inputs)
    assert found["y"].shape == (0, 1, 2, 8)
    np.testing.assert_array_equal(found["y_h"], inputs["h"])
    np.testing.assert_array_equal(found["y_c"], inputs["c"])


@pytest.mark.parametrize(
    ("op_type", "attributes", "message"),
    [
        ("LSTM", {"activations": ["Tanh"]}, "node 'cell': activations are 1, expected 3"),
        (
            "GRU",
            {"activations": ["Tanh", "Tahn"]},
            "node 'cell': activation 'Tahn' is not known; expected one of Sigmoid, ",
        ),
        (
            "RNN",
            {"direction": "sideways"},
            "node 'cell': direction is 'sideways', expected forward, reverse, bidirectional",
        ),
    ],
)
def test_wrong_attributes(op_type: str, attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    onnx.save(model(op_type, 4, attributes), tmp_path / "m.onnx")
    with pytest.raises(HeadraceError, match=message):
        headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
