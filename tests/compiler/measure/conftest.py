"""A small compiled model to measure."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile


def save_dense(path: Path) -> None:
    """y = softmax(relu(x w)), x of f32[batch, 32], which is two kernels or three."""
    w = np.random.default_rng(0).standard_normal((32, 48), np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"], name="MatMul_0"),
        helper.make_node("Relu", ["t"], ["u"], name="Relu_1"),
        helper.make_node("Softmax", ["u"], ["y"], name="Softmax_2"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 48])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(w, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact; the model lies beside it."""
    folder = tmp_path_factory.mktemp("dense")
    save_dense(folder / "m.onnx")
    compile(folder / "m.onnx", output=folder / "m.hrm")
    return folder / "m.hrm"
