"""Random numbers of ONNX's operators: where they lie, how they are spread, and that they come again."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import headrace as hr

Array = np.ndarray[Any, Any]
SHAPE = (64, 500)


def session(tmp_path: Path, op: str, **attributes: Any) -> Any:
    """Of a model with that node twice, and one operand, whose shape those for the dims of an operand take."""
    if not op.endswith("Like"):
        attributes["shape"] = SHAPE
    taken = ["x"] if op.endswith("Like") else []
    nodes = [helper.make_node(op, taken, [y], **attributes) for y in ("a", "b")] + [helper.make_node("Neg", ["x"], ["z"])]
    outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in ("a", "b", "z")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 500])
    return _loaded(tmp_path, helper.make_graph(nodes, "g", [x], outputs))


def _loaded(tmp_path: Path, graph: Any) -> Any:
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    hr.compile(path, output=tmp_path / "m.hrm")
    return hr.load(tmp_path / "m.hrm", threads=2)


X = np.zeros(SHAPE, np.float32)


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1])


@pytest.mark.parametrize("op", ["RandomUniform", "RandomUniformLike"])
def test_uniform(tmp_path: Path, op: str) -> None:
    model = session(tmp_path, op, low=-1.0, high=3.0)
    found = model.run({"x": X})
    a, b = found["a"], found["b"]
    assert a.shape == SHAPE and a.min() >= -1 and a.max() < 3
    counts = np.histogram(a, 16, (-1, 3))[0]
    assert np.abs(counts / 2000 - 1).max() < 0.15  # 3.3 times the standard deviation of a count is 0.074 of it
    for other in (b, np.roll(a, 1, 0), np.roll(a, 1, 1)):
        assert abs(correlation(a, other)) < 0.03
    assert (model.run({"x": X})["a"] == a).all()


@pytest.mark.parametrize("op", ["RandomNormal", "RandomNormalLike"])
def test_normal(tmp_path: Path, op: str) -> None:
    found = session(tmp_path, op, mean=2.0, scale=3.0, seed=5.0).run({"x": X})
    a = (found["a"] - 2) / 3
    assert abs(a.mean()) < 0.03 and abs(a.std() - 1) < 0.02
    assert abs((np.abs(a) < 1).mean() - 0.683) < 0.02 and abs((np.abs(a) < 2).mean() - 0.954) < 0.01
    assert (found["a"] == found["b"]).all()  # of one seed


def test_dropout_in_training(tmp_path: Path) -> None:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 500]),
        helper.make_tensor_value_info("ratio", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("training", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info(n, t, None) for n, t in (("y", TensorProto.FLOAT), ("mask", TensorProto.BOOL))]
    node = helper.make_node("Dropout", ["x", "ratio", "training"], ["y", "mask"])
    model = _loaded(tmp_path, helper.make_graph([node], "g", inputs, outputs))
    x = np.full(SHAPE, 2, np.float32)
    found = model.run({"x": x, "ratio": np.float32(0.25), "training": np.bool_(True)})
    assert abs(found["mask"].mean() - 0.75) < 0.01
    np.testing.assert_allclose(found["y"], np.where(found["mask"], 2 / 0.75, 0), rtol=1e-6)
    off = model.run({"x": x, "ratio": np.float32(0.25), "training": np.bool_(False)})
    assert off["mask"].all() and (off["y"] == 2).all()
    none = model.run({"x": x, "ratio": np.float32(1), "training": np.bool_(True)})
    assert not none["mask"].any() and (none["y"] == 0).all()
