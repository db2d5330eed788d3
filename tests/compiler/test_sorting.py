"""Unique, and TopK of many elements: sorted rows, counted when the model runs; against numpy and ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import parser

import headrace
from headrace.runtime.python import HeadraceRuntimeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)
KINDS = {
    **{k: np.dtype(k).type for k in ("float16", "float", "double", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}").type for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float": np.float32,
    "double": np.float64,
    "bfloat16": ml_dtypes.bfloat16,
}
OUTPUTS = ("y", "first", "number", "count")


def compiled(text: str, folder: Path, opset: int = 11) -> tuple[headrace.Session, bytes]:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> g {text}').SerializeToString()
    (folder / "m.onnx").write_bytes(model)
    headrace.compile(folder / "m.onnx", output=folder / "m.hrm")
    return headrace.load(folder / "m.hrm"), bytes(model)


def unique_of(folder: Path, dims: str, kind: str, attributes: str) -> headrace.Session:
    outputs = f"{kind}[{'p, q' if 'axis' in attributes else 'p'}] y, int64[k] first, int64[n] number, int64[k] count"
    opset = 28 if kind == "bfloat16" else 11
    text = f"({kind}[{dims}] x) => ({outputs}) {{ {', '.join(OUTPUTS)} = Unique{attributes}(x) }}"
    return compiled(text, folder, opset)[0]


def expected_of(x: Array, axis: int | None, is_sorted: bool) -> list[Array]:
    found = list(np.unique(x, True, True, True, axis=axis))
    if not is_sorted:
        order = np.argsort(found[1])
        found = [np.take(found[0], order, axis or 0), found[1][order], np.argsort(order)[found[2]], found[3][order]]
    return [found[0], found[1], found[2].reshape(-1), found[3]]


@pytest.mark.parametrize("kind", KINDS)
def test_unique_of_each_type(kind: str, tmp_path: Path) -> None:
    session = unique_of(tmp_path, "a, b", kind, "")
    for shape in ((3, 4), (1, 1), (7, 11), (0, 3), (40, 5)):
        x = RNG.integers(0, 9, shape).astype(KINDS[kind])
        found = session.run({"x": x})
        wide = x.astype(np.float32) if kind == "bfloat16" else x
        for name, expected in zip(OUTPUTS, expected_of(wide, None, True), strict=True):
            np.testing.assert_array_equal(found[name].astype(expected.dtype), expected, err_msg=name)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_unique_along_an_axis(axis: int | None, is_sorted: bool, tmp_path: Path) -> None:
    attributes = [f"sorted = {int(is_sorted)}", *([] if axis is None else [f"axis = {axis}"])]
    session = unique_of(tmp_path, "a, b", "float", f"<{', '.join(attributes)}>")
    for shape in ((3, 4), (30, 2), (2, 30), (1, 1), (5, 1)):
        x = RNG.integers(-1, 2, shape).astype(np.float32)
        found = session.run({"x": x})
        for name, expected in zip(OUTPUTS, expected_of(x, axis, is_sorted), strict=True):
            np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_unique_as_onnxruntime(tmp_path: Path) -> None:
    for attributes in ("", "<sorted = 0>", "<axis = 1>", "<axis = 0, sorted = 0>"):
        y = "float[p, q] y" if "axis" in attributes else "float[p] y"
        outputs = f"{y}, int64[k] first, int64[n] number, int64[k] count"
        text = f"(float[a, b] x) => ({outputs}) {{ {', '.join(OUTPUTS)} = Unique{attributes}(x) }}"
        session, model = compiled(text, tmp_path)
        peer = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for shape in ((4, 3), (1, 9), (50, 2)):
            x = RNG.integers(0, 3, shape).astype(np.float32)
            found = session.run({"x": x})
            for name, expected in zip(OUTPUTS, peer.run(None, {"x": x}), strict=True):
                np.testing.assert_array_equal(found[name], expected)


def test_unique_of_numbers_that_are_none(tmp_path: Path) -> None:
    """NaNs are one group behind all others; zeros of both signs are equal."""
    x = np.array([[np.nan, 0.0, np.inf], [-0.0, np.nan, -np.inf]], np.float32)
    found = unique_of(tmp_path, "a, b", "float", "").run({"x": x})
    for name, expected in zip(OUTPUTS, expected_of(x, None, True), strict=True):
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("k", ["int64[1] k", None])
@pytest.mark.parametrize("largest", [0, 1])
def test_top_k_of_many(k: str | None, largest: int, tmp_path: Path) -> None:
    """By sorting: ties, NaNs and infinities, along the last axis and another."""
    for axis in (1, -1):
        inputs = ["float[a, b, c] x", *([k] if k else [])]
        constant = "" if k else "<int64[1] k = {17}>"
        text = f"({', '.join(inputs)}) => (float[p, q, r] y, int64[p, q, r] i) {constant} "
        text += f"{{ y, i = TopK<axis = {axis}, largest = {largest}>(x, k) }}"
        session, model = compiled(text, tmp_path)
        peer = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for shape in ((2, 17, 40), (1, 33, 17), (1, 100, 100)):
            x = RNG.integers(-6, 7, shape).astype(np.float32)
            x[x == 6] = np.inf
            for count in (17, 1, 0) if k else (17,):
                given = {"x": x, **({"k": np.array([count])} if k else {})}
                for name, expected in zip("yi", peer.run(None, given), strict=True):
                    np.testing.assert_array_equal(session.run(given)[name], expected)
        with pytest.raises(HeadraceRuntimeError, match="node 'TopK_0': "):
            session.run({"x": np.zeros((1, 16, 16), np.float32), **({"k": np.array([17])} if k else {})})
