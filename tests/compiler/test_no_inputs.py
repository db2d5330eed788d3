"""A model without inputs is a model all the same: its results are constants, or made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile
from headrace.runtime.python import load


@pytest.mark.parametrize(
    ("operators", "expected"), [(("Identity",), 1.5), (("Exp",), np.exp(1.5)), (("Exp", "Neg"), -np.exp(1.5))]
)
def test_results(operators: tuple[str, ...], expected: float, tmp_path: Path) -> None:
    names = ["c", *(f"v{i}" for i in range(len(operators) - 1)), "y"]
    nodes = [helper.make_node(op, [x], [y]) for op, x, y in zip(operators, names[:-1], names[1:], strict=True)]
    constant = numpy_helper.from_array(np.full((2, 3), 1.5, np.float32), "c")
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    np.testing.assert_allclose(load(tmp_path / "m.hrm").run({})["y"], np.full((2, 3), expected), rtol=1e-6)
