"""Dims that are data: a shape that comes in at run time decides the size of what goes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from headrace.compiler.driver import compile
from headrace.runtime.python import HeadraceRuntimeError, Session, load


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """y = -reshape(relu(x), s) with x f32[n, 4] and s i64[2]."""
    folder: Path = tmp_path_factory.mktemp("reshape")
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="clip"),
        helper.make_node("Reshape", ["a", "s"], ["b"], name="regroup"),
        helper.make_node("Neg", ["b"], ["y"], name="minus"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("s", TensorProto.INT64, [2]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    compile(folder / "m.onnx", output=folder / "m.hrm")
    return load(folder / "m.hrm")


@pytest.mark.parametrize(
    ("shape", "expected"), [((8, 3), (8, 3)), ((-1, 2), (12, 2)), ((0, -1), (6, 4)), ((1, 24), (1, 24))]
)
def test_shapes(session: Session, shape: Sequence[int], expected: Sequence[int]) -> None:
    x = np.random.default_rng(0).standard_normal((6, 4), np.float32)
    y = session.run({"x": x, "s": np.array(shape, np.int64)})["y"]
    np.testing.assert_array_equal(y, -np.maximum(x, 0).reshape(expected))


@pytest.mark.parametrize("shape", [(5, 5), (-1, -1), (-1, 5), (7, 0)])
def test_impossible_shapes_name_the_node(session: Session, shape: Sequence[int]) -> None:
    with pytest.raises(HeadraceRuntimeError, match="node 'regroup'"):
        session.run({"x": np.zeros((6, 4), np.float32), "s": np.array(shape, np.int64)})
