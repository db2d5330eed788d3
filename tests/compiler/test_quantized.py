"""Quantized weights and activations, compiled: numbers as ONNX Runtime's, weights in the file as small as in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile
from headrace.runtime.python import load

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)


def i8(*shape: int) -> Array:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def scales(*shape: int) -> Array:
    return RNG.uniform(0.001, 0.02, shape).astype(np.float32)


WEIGHTS = {
    "columns": (i8(256, 384), scales(384), np.zeros(384, np.int8), 1, 0),
    "rows": (i8(256, 384), scales(256), i8(256), 0, 0),
    "whole": (i8(256, 384), scales(), np.int8(-7), 1, 0),
    "bytes": (i8(256, 384).view(np.uint8), scales(384), i8(384).view(np.uint8), -1, 0),
    "blocks": (i8(256, 384), scales(8, 384), i8(8, 384), 0, 32),
    "nibbles": (i8(256, 384).astype(ml_dtypes.int4), scales(8, 384), i8(8, 384).astype(ml_dtypes.int4), 0, 32),
}


def model_of(kind: str) -> bytes:
    """y = x W + b, and z = the rows i of W, of a dequantized W."""
    w, scale, zero, axis, block = WEIGHTS[kind]
    more = {"block_size": block} if block else {}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["d"], "d", axis=axis, **more),
        helper.make_node("MatMul", ["x", "d"], ["p"], "p"),
        helper.make_node("Add", ["p", "b"], ["y"], "y"),
        helper.make_node("Gather", ["d", "i"], ["z"], "z"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 256]),
        helper.make_tensor_value_info("i", TensorProto.INT64, ["k"]),
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "yz"]
    arrays = {"w": w, "scale": scale, "zero": zero, "b": scales(384)}
    constants = [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(found.SerializeToString())


def reference_of(model: bytes, inputs: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return list(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_stay_small(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    (tmp_path / "m.onnx").write_bytes(model)
    report = compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    assert report.kernels == 2
    # Once as it is, for the rows, and once in the form that the product reads.
    assert report.artefact_bytes < 2 * 256 * 384 + 64_000
    session = load(tmp_path / "m.hrm", threads=1)
    for n, k in ((1, 3), (7, 1), (13, 0)):
        inputs = {"x": RNG.standard_normal((n, 256), np.float32), "i": RNG.integers(-256, 256, k)}
        found = session.run(inputs)
        y, z = reference_of(model, inputs)
        assert np.abs(found["y"] - y).max(initial=0) <= 1e-5 * np.abs(y).max()
        np.testing.assert_array_equal(found["z"], z)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_there_and_back(dtype: Any, axis: int | None, tmp_path: Path) -> None:
    """Ties, saturation, infinities and NaN; the numbers between are those of ONNX Runtime bit for bit."""
    info = np.iinfo(dtype)
    shape = () if axis is None else (6, 40)[axis]
    scale = np.asarray(2.0 ** RNG.integers(-3, 3, shape)).astype(np.float32)
    zero = RNG.integers(info.min // 4, info.max // 4, shape).astype(dtype)
    attributes = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q", **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "y", **attributes),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 40])]
    outputs = [helper.make_tensor_value_info("q", kind, None), helper.make_tensor_value_info("y", 1, None)]
    constants = [numpy_helper.from_array(np.asarray(a), n) for n, a in (("s", scale), ("z", zero))]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(model)
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    x = (RNG.integers(-80, 80, (6, 40)) / 16).astype(np.float32)  # often halfway between two integers
    x[:, 0] = 1e30, -1e30, np.inf, -np.inf, 0.0, -0.0
    found = load(tmp_path / "m.hrm").run({"x": x})
    q, y = reference_of(model, {"x": x})
    np.testing.assert_array_equal(found["q"], q)
    np.testing.assert_array_equal(found["y"], y)
