"""Axes that are data: reductions, Squeeze and Unsqueeze along axes that come in when the model runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

import headrace
from headrace.runtime.python import HeadraceRuntimeError

Array = np.ndarray[Any, Any]
Run = Callable[[Array, Sequence[int]], Array]
X = np.random.default_rng(0).standard_normal((3, 4, 5), np.float32)

NUMPY: dict[str, Callable[[Array, tuple[int, ...], bool], Array]] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdims=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdims=keep),
    "ReduceMax": lambda x, axes, keep: x.max(axes, keepdims=keep),
    "ReduceProd": lambda x, axes, keep: x.prod(axes, keepdims=keep),
    "ReduceL2": lambda x, axes, keep: np.sqrt((x * x).sum(axes, keepdims=keep)),
    "ReduceLogSumExp": lambda x, axes, keep: np.log(np.exp(x).sum(axes, keepdims=keep)),
}


def model(tmp_path: Path, node: str, x: str, axes: str, rank: int) -> Run:
    """A model of one node, whose result the model declares by its rank only."""
    result = ", ".join(f"r{i}" for i in range(rank))
    text = f'<ir_version: 9, opset_import: ["" : 18]> g (float[{x}] x, int64[{axes}] axes) => (float[{result}] y)'
    parsed = parser.parse_model(f"{text} {{ y = {node}(x, axes) }}")
    (tmp_path / "m.onnx").write_bytes(parsed.SerializeToString())
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = headrace.load(tmp_path / "m.hrm")
    return lambda x, axes: session.run({"x": x, "axes": np.array(axes, np.int64)})["y"]


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("count", ["1", "k"])
def test_one_axis_by_one_artefact(name: str, count: str, tmp_path: Path) -> None:
    dropped = model(tmp_path, f"{name}<keepdims = 0>", "a, b, c", count, 2)
    kept = model(tmp_path, name, "a, b, c", count, 3)
    for axis in (0, 1, 2, -1, -3):
        np.testing.assert_allclose(dropped(X, [axis]), NUMPY[name](X, (axis,), False), rtol=1e-5)
        np.testing.assert_allclose(kept(X, [axis]), NUMPY[name](X, (axis,), True), rtol=1e-5)


def test_several_axes_none_and_empty_dims(tmp_path: Path) -> None:
    kept = model(tmp_path, "ReduceSum", "a, b, c", "k", 3)
    for axes in ((0, 2), (2, 1), (0, 1, 2), ()):
        np.testing.assert_allclose(kept(X, axes), X.sum(axes or None, keepdims=True), rtol=1e-5)
    for axis in (0, 1, 2):
        empty = np.zeros((3, 0, 2), np.float32)
        np.testing.assert_array_equal(kept(empty, [axis]), empty.sum(axis, keepdims=True))
    as_it_is = model(tmp_path, "ReduceSum<noop_with_empty_axes = 1>", "a, b, c", "k", 3)
    np.testing.assert_array_equal(as_it_is(X, []), X)
    np.testing.assert_allclose(as_it_is(X, [1]), X.sum(1, keepdims=True), rtol=1e-5)


def test_squeeze_and_unsqueeze(tmp_path: Path) -> None:
    squeezed = model(tmp_path, "Squeeze", "a, b, c", "1", 2)
    np.testing.assert_array_equal(squeezed(X[:, :1], [-2]), X[:, 0])
    np.testing.assert_array_equal(squeezed(X[:1], [0]), X[0])
    unsqueezed = model(tmp_path, "Unsqueeze", "a, b, c", "2", 5)
    for axes in ((-1, 1), (0, 1), (4, 2)):
        np.testing.assert_array_equal(unsqueezed(X, axes), np.expand_dims(X, axes))


@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_out_of_range_names_the_node(axis: int, tmp_path: Path) -> None:
    kept = model(tmp_path, "ReduceSum", "a, b, c", "1", 3)
    with pytest.raises(HeadraceRuntimeError, match=f"node 'ReduceSum_0': index {axis} is out of range for a dim of 3"):
        kept(X, [axis])


def test_axes_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    dropped = model(tmp_path, "ReduceSum<keepdims = 0>", "a, b, c", "2", 1)
    with pytest.raises(HeadraceRuntimeError, match="node 'ReduceSum_0': the shape does not have the elements"):
        dropped(X, [1, 1])
    squeezed = model(tmp_path, "Squeeze", "a, b, c", "1", 2)
    with pytest.raises(HeadraceRuntimeError, match="node 'Squeeze_0': the shape does not have the elements"):
        squeezed(X, [1])
