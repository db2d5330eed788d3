"""Sizes that data decide: Slice with bounds, NonZero and Compress with masks that come in when the model runs."""

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
X = np.random.default_rng(0).standard_normal((3, 4, 5), np.float32)
FAR = 2**63 - 1


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Callable[..., Array]]:
    def compile(graph: str) -> Callable[..., Array]:
        model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g {graph}')
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
        session = headrace.load(tmp_path / "m.hrm")
        return lambda **inputs: session.run(inputs)["y"]

    return compile


def integers(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


CUTS: list[tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]] = [
    ((1,), (3,), (1,), (1,)),
    ((0,), (100,), (2,), (2,)),
    ((-1,), (-FAR - 1,), (-1,), (-1,)),
    ((3, 0), (0, 2), (1, 0), (-2, 1)),
    ((10,), (0,), (2,), (-3,)),
    ((2,), (2,), (0,), (1,)),
    ((-100,), (FAR,), (0,), (1,)),
]


def test_slice_at_bounds_that_are_data(compiled: Any) -> None:
    run = compiled("""(float[a, b, c] x, int64[k] first, int64[k] last, int64[k] axes, int64[k] steps)
        => (float[p, q, r] y) { y = Slice(x, first, last, axes, steps) }""")
    for first, last, axes, steps in CUTS:
        found = run(x=X, first=integers(*first), last=integers(*last), axes=integers(*axes), steps=integers(*steps))
        cut = [slice(None)] * 3
        for a, b, axis, step in zip(first, last, axes, steps, strict=True):
            cut[axis] = slice(a, None if b < -FAR else b, step)
        np.testing.assert_array_equal(found, X[tuple(cut)])
    given = {"x": X, "first": integers(0), "last": integers(1)}
    with pytest.raises(HeadraceRuntimeError, match="node 'Slice_0': a step is 0"):
        run(**given, axes=integers(0), steps=integers(0))
    with pytest.raises(HeadraceRuntimeError, match="node 'Slice_0': index 7 is out of range for a dim of 3"):
        run(**given, axes=integers(7), steps=integers(1))


def test_slice_along_axes_that_are_known(compiled: Any) -> None:
    run = compiled("""(float[a, b, c] x, int64[2] first, int64[2] last) => (float[p, q, r] y)
        { y = Slice(x, first, last) }""")
    np.testing.assert_array_equal(run(x=X, first=integers(1, -3), last=integers(3, -1)), X[1:3, -3:-1])


def test_a_bound_that_counts_from_either_end(compiled: Any) -> None:
    """Of a formula it may not be known whether it is negative."""
    run = compiled("""(float[a, b] x) => (float[p, q] y) <int64[1] two = {2}, int64[1] one = {1}>
        { s = Shape(x)  rows = Gather(s, zero)  first = Sub(rows, two)  y = Slice(x, first, rows, zero) }""".replace(
            "<int64[1] two", "<int64[1] zero = {0}, int64[1] two"))  # fmt: skip
    for rows in (1, 2, 3):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        np.testing.assert_array_equal(run(x=x), x[rows - 2 : rows])


def test_nonzero(compiled: Any) -> None:
    run = compiled("(float[a, b] x) => (int64[p, q] y) { y = NonZero(x) }")
    for x in ([[0, 1, 0], [2, 0, np.nan]], [[0, 0]], [[5]], np.zeros((0, 3))):
        x = np.array(x, np.float32)
        np.testing.assert_array_equal(run(x=x), np.array(np.nonzero(x)))


def test_compress(compiled: Any) -> None:
    run = compiled("(float[a, b] x, bool[m] keep) => (float[p, q] y) { y = Compress<axis = 1>(x, keep) }")
    for keep in ([1, 0, 1], [0, 0], [0, 1, 1, 0, 1]):
        np.testing.assert_array_equal(run(x=X[0], keep=np.array(keep, bool)), np.compress(keep, X[0], 1))
    with pytest.raises(HeadraceRuntimeError, match="node 'Compress_0': index 5 is out of range for a dim of 5"):
        run(x=X[0], keep=np.ones(6, bool))
    flat = compiled("(float[a, b] x, bool[m] keep) => (float[p] y) { y = Compress(x, keep) }")
    np.testing.assert_array_equal(flat(x=X[0], keep=np.array([0, 1, 1], bool)), np.compress([0, 1, 1], X[0]))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads_that_are_data(mode: str, compiled: Any) -> None:
    run = compiled(f"""(float[a, b] x, int64[p] pads, float v, int64[k] axes) => (float[q, r] y)
        {{ y = Pad<mode = "{mode}">(x, pads, v, axes) }}""")
    for pads, axes in (((1, 0, 2, 3), (0, 1)), ((2, 1), (-1,)), ((1, 2, 0, 0), (1, 0)), ((0, 0), (0,))):
        sides = [(0, 0), (0, 0)]
        for i, axis in enumerate(axes):
            sides[axis] = (pads[i], pads[len(axes) + i])
        more: Any = {"constant_values": 7.0} if mode == "constant" else {}
        expected = np.pad(X[0], sides, mode=mode, **more)  # type: ignore[call-overload]
        found = run(x=X[0], pads=integers(*pads), v=np.float32(7.0), axes=integers(*axes))
        np.testing.assert_array_equal(found, expected)
    found = run(x=X[0], pads=integers(-1, 2), v=np.float32(7.0), axes=integers(0))
    assert found.shape == (5, 5)
    np.testing.assert_array_equal(found[:3], X[0][1:])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_an_empty_dim_is_padded_by_data(shape: tuple[int, int], compiled: Any) -> None:
    run = compiled("(float[a, b] x, int64[4] pads) => (float[q, r] y) { y = Pad(x, pads) }")
    x = np.ones(shape, np.float32)
    np.testing.assert_array_equal(run(x=x, pads=integers(1, 2, 0, 2)), np.pad(x, ((1, 0), (2, 2))))


def test_booleans_are_padded_by_data(compiled: Any) -> None:
    run = compiled("(bool[a, b] x, int64[4] pads) => (bool[q, r] y) { y = Pad(x, pads) }")
    x = np.ones((2, 3), bool)
    np.testing.assert_array_equal(run(x=x, pads=integers(1, 2, -1, 2)), np.pad(x[:1], ((1, 0), (2, 2))))


def test_a_padding_value_that_is_data(compiled: Any) -> None:
    run = compiled("""(float[a, b] x, float v) => (float[q, r] y) <int64[4] pads = {1, 0, 0, 2}>
        { y = Pad(x, pads, v) }""")
    np.testing.assert_array_equal(run(x=X[0], v=np.float32(3)), np.pad(X[0], ((1, 0), (0, 2)), constant_values=3))


@pytest.mark.parametrize("first_last_step", [(0, 7, 2), (5, -4, -3), (3, 3, 1), (3, 1, 1)])
def test_a_range_of_integers(first_last_step: tuple[int, int, int], compiled: Any) -> None:
    run = compiled("(int64 a, int64 b, int64 c) => (int64[n] y) { y = Range(a, b, c) }")
    first, last, step = first_last_step
    found = run(a=np.array(first), b=np.array(last), c=np.array(step))
    np.testing.assert_array_equal(found, np.arange(first, last, step))


def test_ranges_of_floats_and_steps_of_zero(compiled: Any) -> None:
    run = compiled("(float a, float b, float c) => (float[n] y) { y = Range(a, b, c) }")
    for first, last, step in ((0.0, 1.0, 0.25), (2.0, -1.0, -0.7), (1.0, 0.0, 1.0)):
        found = run(a=np.float32(first), b=np.float32(last), c=np.float32(step))
        np.testing.assert_allclose(found, np.arange(first, last, step, dtype=np.float32), rtol=1e-5)
    with pytest.raises(HeadraceRuntimeError, match="node 'Range_0': the step is 0"):
        run(a=np.float32(0), b=np.float32(1), c=np.float32(0))


def test_a_constant_of_a_shape_that_is_data(compiled: Any) -> None:
    run = compiled("(int64[2] s) => (float[a, b] y) { y = ConstantOfShape(s) }")
    assert run(s=integers(2, 3)).shape == (2, 3)
    assert run(s=integers(0, 3)).shape == (0, 3)
    with pytest.raises(HeadraceRuntimeError, match=r"node 'ConstantOfShape_0': .* is -1, expected 0"):
        run(s=integers(-1, 3))


def test_split_sizes_that_are_data(compiled: Any) -> None:
    run = compiled("""(float[a, b] x, int64[2] s) => (float[a, c] y, float[a, d] z)
        { y, z = Split<axis = 1>(x, s) }""")
    for sizes in ((1, 4), (5, 0)):
        np.testing.assert_array_equal(run(x=X[0], s=integers(*sizes)), X[0][:, : sizes[0]])
    with pytest.raises(HeadraceRuntimeError, match="node 'Split_0': the sizes do not add up to the dim of b"):
        run(x=X[0], s=integers(1, 3))


def test_memory_that_values_decide(tmp_path: Path) -> None:
    """The refusal says which node's, and what can be done."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]> g (float[a] x) => (int64[p, q] y)
        { b = Relu(x)  y = NonZero(b) }""")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = headrace.load(tmp_path / "m.hrm", record=True)
    told = r"^node 'NonZero_1': its values decide sizes, .* known after a run only: run .* memory_taken in Python\)$"
    with pytest.raises(HeadraceRuntimeError, match=told):
        session.memory_needed({"x": (7,)})
    before = session.memory_taken().held_bytes
    session.run({"x": np.ones(1000, np.float32)})
    assert session.memory_taken().held_bytes > before


def test_tile(compiled: Any) -> None:
    known = compiled("(float[a, b] x) => (float[c, d] y) <int64[2] n = {2, 3}> { y = Tile(x, n) }")
    np.testing.assert_array_equal(known(x=X[0]), np.tile(X[0], (2, 3)))
    run = compiled("(float[a, b] x, int64[2] n) => (float[c, d] y) { y = Tile(x, n) }")
    for counts in ((2, 3), (1, 1), (0, 2)):
        np.testing.assert_array_equal(run(x=X[0], n=integers(*counts)), np.tile(X[0], counts))
