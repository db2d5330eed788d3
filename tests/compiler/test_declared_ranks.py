"""Shapes of a length that is a symbol: the rank of the result is what the model declares, and the run checks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

import headrace
from headrace.ir.errors import UnsupportedModelError
from headrace.runtime.python import HeadraceRuntimeError

Array = np.ndarray[Any, Any]
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], Callable[..., Array]]:
    def compile(graph: str) -> Callable[..., Array]:
        model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g {graph}')
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
        session = headrace.load(tmp_path / "m.hrm")
        return lambda **inputs: session.run(inputs)["y"]

    return compile


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def test_reshape(compiled: Any) -> None:
    run = compiled("(float[a, b, c] x, int64[k] s) => (float[p, q] y) { y = Reshape(x, s) }")
    for shape in ((6, 4), (-1, 12), (0, -1)):
        expected = X.reshape([X.shape[0] if n == 0 else n for n in shape])
        np.testing.assert_array_equal(run(x=X, s=ints(*shape)), expected)
    with pytest.raises(HeadraceRuntimeError, match="node 'Reshape_0': "):
        run(x=X, s=ints(2, 3, 4))


def test_expand(compiled: Any) -> None:
    """A shape may be shorter than the rank of what is expanded, or longer."""
    run = compiled("(float[a, b] x, int64[k] s) => (float[p, q] y) { y = Expand(x, s) }")
    x = X[0, :, :1]
    for shape in ((3, 4), (5,), ()):
        np.testing.assert_array_equal(run(x=x, s=ints(*shape)), x + np.zeros(shape, np.float32))
    with pytest.raises(HeadraceRuntimeError, match=r"node 'Expand_0': a dim of .* is below 0"):
        run(x=x, s=ints(1, 3, 4))
    more = compiled("(float[a, b] x, int64[k] s) => (float[p, q, r] y) { y = Expand(x, s) }")
    assert more(x=x, s=ints(2, 1, 6)).shape == (2, 3, 6)


def test_constant_of_shape(compiled: Any) -> None:
    run = compiled("(int64[k] s) => (float[p, q] y) { y = ConstantOfShape(s) }")
    np.testing.assert_array_equal(run(s=ints(2, 3)), np.zeros((2, 3)))
    with pytest.raises(HeadraceRuntimeError, match="node 'ConstantOfShape_0': "):
        run(s=ints(2))


def test_indices_of_a_symbolic_depth(compiled: Any) -> None:
    run = compiled("(float[a, b, c] x, int64[k, d] i) => (float[k, p] y) { y = GatherND(x, i) }")
    np.testing.assert_array_equal(run(x=X, i=np.array([[1, 2], [0, -1]])), X[[1, 0], [2, -1]])
    with pytest.raises(HeadraceRuntimeError, match="node 'GatherND_0': "):
        run(x=X, i=np.array([[1], [0]]))
    put = compiled("""(float[a, b, c] x, int64[k, d] i, float[k, p] u) => (float[a, b, c] y)
        { y = ScatterND(x, i, u) }""")
    expected = X.copy()
    expected[[1, 0], [2, 1]] = 7
    np.testing.assert_array_equal(put(x=X, i=np.array([[1, 2], [0, 1]]), u=np.full((2, 4), 7, np.float32)), expected)
    with pytest.raises(HeadraceRuntimeError, match="node 'ScatterND_0': "):
        put(x=X, i=np.array([[1], [0]]), u=np.full((2, 4), 7, np.float32))


def test_a_rank_that_is_declared_further_on(compiled: Any) -> None:
    """For the result of what leaves the rank, or among the shapes of intermediate values."""
    run = compiled("""(float[a, b, c] x, int64[k] axes) => (float[p] y)
        { s = ReduceSum<keepdims = 0>(x, axes)  t = Abs(s)  y = Sqrt(t) }""")
    np.testing.assert_allclose(run(x=X, axes=ints(0, 2)), np.sqrt(X.sum((0, 2))), rtol=1e-6)
    inner = compiled("""(float[a, b, c] x, int64[k] s) => (float[p] y) <float[m, n] r, int64[1] axes = {1}>
        { r = Reshape(x, s)  y = ReduceSum<keepdims = 0>(r, axes) }""")
    np.testing.assert_array_equal(inner(x=X, s=ints(4, 6)), X.reshape(4, 6).sum(1))


def test_a_rank_that_nothing_declares(compiled: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="the rank of the result is data, and nothing declares it"):
        compiled("""(float[a, b, c] x, int64[k] s) => (float[p] y)
            { r = Reshape(x, s)  y = Flatten(r) }""")
