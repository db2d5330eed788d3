"""Sizes that data decide, at the ends of what integers hold, against Python's integers, which do not wrap."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

import headrace
from headrace.runtime.python import HeadraceRuntimeError

Array = np.ndarray[Any, Any]
Run = Callable[..., Array]
MOST = 2**63 - 1
EXTREMES = (0, 1, -1, 2**31, -(2**31), 2**62, -(2**62), MOST, -MOST, -MOST - 1)
MEMORY = 2**34  # bytes of this process, which takes a tenth
SMALL, LARGE = 2**12, 2**46  # elements: what is looked at, and what no machine has memory for
X = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], Run]:
    def compile(graph: str) -> Run:
        model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g {graph}')
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
        session = headrace.load(tmp_path / "m.hrm", threads=1)
        return lambda **inputs: session.run({k: np.asarray(v) for k, v in inputs.items()})["y"]

    return compile


def check(run: Run, node: str, dims: Sequence[int] | None, expected: Callable[[], Any], **inputs: Any) -> None:
    """Runs it where the dims, which ONNX's rules give, say what is to come; None for an error."""
    if dims is None or not all(0 <= d <= MOST for d in dims) or prod(dims) >= LARGE:
        found = outcome(run, inputs)
        assert isinstance(found, str) and found.startswith(f"node '{node}") and "\n" not in found, (inputs, found)
    elif prod(dims) <= SMALL:
        found = outcome(run, inputs)
        if isinstance(found, str):
            # No elements, but many places: a number for each of them may find no memory, and numpy has no such array.
            assert prod(dims) == 0 and max(dims) > SMALL, (inputs, found)
            assert f"node '{node}" in found or "numpy" in found, (inputs, found)
            return
        assert found.shape == tuple(dims), inputs
        if found.size:
            np.testing.assert_array_equal(found, expected(), str(inputs))


def outcome(run: Run, inputs: dict[str, Any]) -> Array | str:
    """What comes out, or the error."""
    try:
        return run(**inputs)
    except HeadraceRuntimeError as error:
        return str(error)


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """A machine with much of it would fill it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def integers(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("kind", ["int16", "int32", "int64"])
def test_range(kind: str, compiled: Any) -> None:
    run, info = compiled(f"({kind} a, {kind} b, {kind} c) => ({kind}[n] y) {{ y = Range(a, b, c) }}"), np.iinfo(kind)
    ends = (info.min, info.min + 1, -1, 0, 1, 5, info.max // 2 + 1, info.max - 1, info.max)
    for a, b, c in product(ends, repeat=3):
        many = None if c == 0 else [max(-((a - b) // c), 0)]
        numbers = lambda a=a, b=b, c=c: np.array(list(range(a, b, c)), kind)  # noqa: E731
        check(run, "Range_0", many, numbers, **{k: np.array(v, kind) for k, v in zip("abc", (a, b, c), strict=True)})


def test_a_range_over_all_of_an_element_type(compiled: Any) -> None:
    run = compiled("(int16 a, int16 b, int16 c) => (int16[n] y) { y = Range(a, b, c) }")
    found = run(a=np.int16(-32768), b=np.int16(32767), c=np.int16(1))
    np.testing.assert_array_equal(found, np.arange(-32768, 32767, dtype=np.int16))


def test_range_of_floats_without_a_count(compiled: Any) -> None:
    run = compiled("(float a, float b, float c) => (float[n] y) { y = Range(a, b, c) }")
    for a, b, c in ((0, np.inf, 1), (0, np.nan, 1), (np.nan, 1, 1), (0, 1, np.nan), (0, 1e30, 1), (-np.inf, np.inf, 1)):
        with pytest.raises(HeadraceRuntimeError, match=r"^node 'Range_0': "):
            run(a=np.float32(a), b=np.float32(b), c=np.float32(c))


def sliced(dim: int, first: int, last: int, step: int) -> list[int]:
    """Both ends counted from the back if negative, then clamped to where there are elements, as ONNX says."""
    first, last = (place + dim if place < 0 else place for place in (first, last))
    if step > 0:
        return list(range(min(max(first, 0), dim), min(max(last, 0), dim), step))
    return list(range(min(max(first, 0), dim - 1), min(max(last, -1), dim - 1), step))


def test_slice(compiled: Any) -> None:
    run = compiled("""(float[a, b] x, int64[1] first, int64[1] last, int64[1] step) => (float[p, q] y)
        <int64[1] axis = {0}> { y = Slice(x, first, last, axis, step) }""")
    for first, last, step in product((*EXTREMES, 2, -3), repeat=3):
        cut = X[sliced(4, first, last, step)] if step else X
        given = {"first": integers(first), "last": integers(last), "step": integers(step)}
        check(run, "Slice_0", cut.shape if step else None, lambda cut=cut: cut, x=X, **given)


def test_tile(compiled: Any) -> None:
    run = compiled("(float[a, b] x, int64[2] n) => (float[c, d] y) { y = Tile(x, n) }")
    for rows, columns in product((*EXTREMES, 3, 2**61, 2**62 + 1), repeat=2):
        for x in (X, X[:, :0]):
            dims = None if min(rows, columns) < 0 else (x.shape[0] * rows, x.shape[1] * columns)
            tiled = lambda x=x, n=(rows, columns): np.tile(x, n)  # noqa: E731
            check(run, "Tile_0", dims, tiled, x=x, n=integers(rows, columns))


@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_pad(mode: str, compiled: Any) -> None:
    run = compiled(f"""(float[a, b] x, int64[4] pads) => (float[c, d] y) {{ y = Pad<mode = "{mode}">(x, pads) }}""")
    for before, after in product((*EXTREMES, 3, -3), repeat=2):
        size = 4 + before + after

        def padded(before: int = before, size: int = size) -> Array:
            places = np.array([min(max(i - before, -1), 4) for i in range(size)])
            inside = (places >= 0) & (places < 4)
            return np.where((inside | (mode == "edge"))[:, None], X[places.clip(0, 3)], np.float32(0))

        check(run, "Pad_0", (size, 2), padded, x=X, pads=integers(before, 0, after, 0))


def test_split(compiled: Any) -> None:
    run = compiled("""(float[a, b] x, int64[3] s) => (float[c, b] y, float[d, b] z, float[e, b] w)
        { y, z, w = Split(x, s) }""")
    for sizes in product((*EXTREMES, 2, 4, 6), repeat=3):
        fits = sum(sizes) == 4 and min(sizes) >= 0
        check(run, "Split_0", (sizes[0], 2) if fits else None, lambda n=sizes[0]: X[:n], x=X, s=integers(*sizes))


def test_expand_and_constant_of_shape(compiled: Any) -> None:
    expand = compiled("(float[1, 2] x, int64[2] s) => (float[c, d] y) { y = Expand(x, s) }")
    fill = compiled("(int64[2] s) => (float[c, d] y) { y = ConstantOfShape(s) }")
    for rows, columns in product(EXTREMES, repeat=2):
        dims = (rows, columns)
        right = min(dims) >= 0 and columns in (1, 2)
        wide = lambda dims=dims: np.broadcast_to(X[:1], np.broadcast_shapes((1, 2), dims))  # noqa: E731
        check(expand, "Expand_0", (rows, 2) if right else None, wide, x=X[:1], s=integers(*dims))
        zeros = lambda dims=dims: np.zeros(dims, np.float32)  # noqa: E731
        check(fill, "ConstantOfShape_0", dims if min(dims) >= 0 else None, zeros, s=integers(*dims))


def test_many_rows_of_nothing(compiled: Any) -> None:
    """A loop over them would not end."""
    run = compiled("(int64[2] s) => (float[c, d] y) { a = ConstantOfShape(s)  b = Sqrt(a)  y = Softmax<axis = 1>(b) }")
    assert run(s=integers(2**59, 0)).shape == (2**59, 0)
    with pytest.raises(HeadraceRuntimeError, match="numpy takes the dims of the outputs for no array"):
        run(s=integers(2**62, 0))
    with pytest.raises(HeadraceRuntimeError, match=r"^node 'Sqrt_1, Softmax_2': the shapes lead to \d+ \+ \d, which does not fit"):
        run(s=integers(MOST, 0))


def reshaped(x: Array, shape: Sequence[int]) -> tuple[int, ...] | None:
    dims = [x.shape[i] if d == 0 else d for i, d in enumerate(shape)]
    if min(dims) < -1 or dims.count(-1) > 1:
        return None
    others = prod(d for d in dims if d != -1)
    dims = [(x.size // others if others else 0) if d == -1 else d for d in dims]
    return tuple(dims) if prod(dims) == x.size else None


def test_reshape(compiled: Any) -> None:
    run = compiled("(float[a, b] x, int64[2] s) => (float[c, d] y) { y = Reshape(x, s) }")
    for shape in product((*EXTREMES, 8, 2), repeat=2):
        for x in (X, X[:1, :1]):
            dims = reshaped(x, shape)
            check(run, "Reshape_0", dims, lambda x=x, dims=dims: x.reshape(dims), x=x, s=integers(*shape))


def test_one_hot_and_top_k(compiled: Any) -> None:
    one_hot = compiled("(int64[n] i, int64 d, float[2] v) => (float[n, m] y) { y = OneHot(i, d, v) }")
    top_k = compiled("(float[a, b] x, int64[1] k) => (float[a, c] y, int64[a, c] z) { y, z = TopK(x, k) }")
    for number in (*EXTREMES, 2):
        hot = lambda n=number: np.eye(n, dtype=np.float32)[:1]  # noqa: E731
        dims = None if number < 0 else (1, number)
        check(one_hot, "OneHot_0", dims, hot, i=integers(0), d=np.array(number), v=np.array([0, 1], np.float32))
        largest = lambda n=number: X[:, ::-1][:, :n]  # noqa: E731
        check(top_k, "TopK_0", (4, number) if 0 <= number <= 2 else None, largest, x=X, k=integers(number))


def test_axes(compiled: Any) -> None:
    total = compiled("(float[a, b] x, int64[1] axes) => (float[c] y) { y = ReduceSum<keepdims = 0>(x, axes) }")
    longer = compiled("(float[a, b] x, int64[1] axes) => (float[c, d, e] y) { y = Unsqueeze(x, axes) }")
    for axis in EXTREMES:
        inside = -2 <= axis < 2
        dims = np.sum(X, axis).shape if inside else None
        check(total, "ReduceSum_0", dims, lambda a=axis: np.sum(X, a), x=X, axes=integers(axis))
        dims = np.expand_dims(X, axis).shape if -3 <= axis < 3 else None
        check(longer, "Unsqueeze_0", dims, lambda a=axis: np.expand_dims(X, a), x=X, axes=integers(axis))
