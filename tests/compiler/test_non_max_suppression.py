"""NonMaxSuppression as ONNX Runtime has it: batches, classes, ties, bounds that are data or left out, nothing selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import parser

import headrace
from headrace.ir.errors import ModelError
from headrace.runtime.python import HeadraceRuntimeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
BOUNDS = "int64[1] most, float[1] overlap, float[1] threshold"


def model_of(inputs: str, attributes: str = "", names: str = "boxes, scores, most, overlap, threshold") -> bytes:
    text = f"({inputs}) => (int64[n, 3] y) {{ y = NonMaxSuppression{attributes}({names}) }}"
    return bytes(parser.parse_model(f'<ir_version: 9, opset_import: ["" : 11]> g {text}').SerializeToString())


class Both:
    """The model compiled, and in ONNX Runtime."""

    def __init__(self, model: bytes, folder: Path) -> None:
        (folder / "m.onnx").write_bytes(model)
        headrace.compile(folder / "m.onnx", output=folder / "m.hrm")
        self.session = headrace.load(folder / "m.hrm")
        self.peer = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def agree(self, **inputs: Array) -> int:
        """How many boxes both select."""
        found, (expected,) = self.session.run(inputs)["y"], self.peer.run(None, inputs)
        np.testing.assert_array_equal(found, expected)
        return len(found)


def boxes_of(batches: int, count: int) -> Array:
    """Small whole coordinates, so that many overlap alike; corners in any order."""
    return RNG.integers(0, 6, (batches, count, 4)).astype(np.float32)


def scores_of(batches: int, classes: int, count: int) -> Array:
    return (RNG.integers(0, 8, (batches, classes, count)) / 8).astype(np.float32)


def bounds(most: int, overlap: float, threshold: float) -> dict[str, Array]:
    numbers = np.array([overlap], np.float32), np.array([threshold], np.float32)
    return {"most": np.array([most]), "overlap": numbers[0], "threshold": numbers[1]}


@pytest.mark.parametrize("attributes", ["", "<center_point_box = 1>"])
def test_everything_is_data(attributes: str, tmp_path: Path) -> None:
    both = Both(model_of(f"float[b, n, 4] boxes, float[b, c, n] scores, {BOUNDS}", attributes), tmp_path)
    selected = []
    for batches, classes, count in ((1, 1, 1), (2, 3, 17), (1, 80, 40), (3, 1, 64), (1, 2, 0)):
        for most, overlap, threshold in ((5, 0.3, 0.2), (100, 0.0, 0.0), (3, 1.0, 0.5), (0, 0.5, 0.0), (9, 0.5, 2.0)):
            boxes, scores = boxes_of(batches, count), scores_of(batches, classes, count)
            selected.append(both.agree(boxes=boxes, scores=scores, **bounds(most, overlap, threshold)))
    assert 0 in selected and max(selected) > 100
    boxes, scores = boxes_of(1, 4), scores_of(1, 1, 4)
    both.agree(boxes=boxes, scores=scores, **bounds(-1, 0.5, 0.0))


def test_bounds_that_are_known(tmp_path: Path) -> None:
    known = "{ y = NonMaxSuppression(boxes, scores, most, overlap, threshold) }"
    text = f"""<ir_version: 9, opset_import: ["" : 11]> g (float[1, 300, 4] boxes, float[1, 2, 300] scores)
        => (int64[n, 3] y) <int64[1] most = {{7}}, float[1] overlap = {{0.4}}, float[1] threshold = {{0.1}}> {known}"""
    both = Both(bytes(parser.parse_model(text).SerializeToString()), tmp_path)
    assert both.agree(boxes=boxes_of(1, 300), scores=scores_of(1, 2, 300)) > 0
    boxes = RNG.uniform(0, 100, (1, 300, 4)).astype(np.float32)
    assert both.agree(boxes=boxes, scores=RNG.random((1, 2, 300), np.float32)) == 14


def test_bounds_left_out(tmp_path: Path) -> None:
    """Without a threshold every score counts, however low; without a number of boxes there are none."""
    inputs = "float[b, n, 4] boxes, float[b, c, n] scores, int64 most"
    both = Both(model_of(inputs, names="boxes, scores, most"), tmp_path)
    scores = np.array([[[-1, -np.inf, -3, -2]]], np.float32)
    boxes = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert both.agree(boxes=boxes, scores=scores, most=np.array(4)) > 1
    none = Both(model_of("float[b, n, 4] boxes, float[b, c, n] scores", names="boxes, scores"), tmp_path)
    assert none.agree(boxes=boxes, scores=scores) == 0


def test_a_score_that_is_no_number(tmp_path: Path) -> None:
    both = Both(model_of(f"float[b, n, 4] boxes, float[b, c, n] scores, {BOUNDS}"), tmp_path)
    scores = np.array([[[0.5, np.nan, 0.75, np.nan]]], np.float32)
    boxes = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert both.agree(boxes=boxes, scores=scores, **bounds(4, 0.5, 0.25)) == 2


def test_shapes_that_do_not_agree(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"node 'NonMaxSuppression_0': boxes and scores are .*expected \[b, n, 4\]"):
        Both(model_of(f"float[1, 4, 5] boxes, float[1, 1, 4] scores, {BOUNDS}"), tmp_path)
    both = Both(model_of(f"float[b, n, d] boxes, float[b2, c, n2] scores, {BOUNDS}"), tmp_path)
    given = {"scores": scores_of(1, 1, 4), **bounds(4, 0.5, 0.25)}
    assert both.agree(boxes=boxes_of(1, 4), **given) > 0
    with pytest.raises(HeadraceRuntimeError, match=r"node 'NonMaxSuppression_0'.* do not agree in batches and boxes"):
        both.session.run({"boxes": boxes_of(1, 5), **given})
