"""Resize and Upsample whose scales, sizes or region come in when the model runs, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import parser

import headrace

Array = np.ndarray[Any, Any]
X = np.random.default_rng(1).uniform(-2, 2, (1, 2, 5, 4)).astype(np.float32)
SCALES = [(2.0, 3.0), (0.6, 1.0), (1.0, 0.5), (1.4, 0.75)]
SIZES = [(5, 6), (10, 3), (1, 9), (3, 1), (7, 2)]


class Both:
    """A node with 'x' and more inputs, compiled and in ONNX Runtime."""

    def __init__(self, inputs: str, node: str, folder: Path, opset: int = 18, kind: str = "float") -> None:
        text = f"({kind}[1, a, b, c] x, {inputs}) => ({kind}[o, p, q, r] y) {{ y = {node} }}"
        model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> g {text}').SerializeToString()
        (folder / "m.onnx").write_bytes(model)
        headrace.compile(folder / "m.onnx", output=folder / "m.hrm")
        self.session = headrace.load(folder / "m.hrm")
        self.peer = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def agree(self, **inputs: Array) -> None:
        found, (expected,) = self.session.run(inputs)["y"], self.peer.run(None, inputs)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5, err_msg=str(inputs))


@pytest.mark.parametrize("place", ["half_pixel", "pytorch_half_pixel", "asymmetric", "half_pixel_symmetric"])
def test_scales(place: str, tmp_path: Path) -> None:
    how = f'axes = [2, 3], mode = "linear", coordinate_transformation_mode = "{place}"'
    both = Both("float[2] s", f"Resize<{how}>(x, , s)", tmp_path, opset=19)
    for scales in SCALES:
        both.agree(x=X, s=np.array(scales, np.float32))


@pytest.mark.parametrize(
    "how",
    [
        "",
        'coordinate_transformation_mode = "align_corners", nearest_mode = "round_prefer_ceil"',
        'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
        'mode = "cubic", cubic_coeff_a = -0.5',
        'mode = "cubic", exclude_outside = 1, coordinate_transformation_mode = "align_corners"',
    ],
)
def test_sizes(how: str, tmp_path: Path) -> None:
    both = Both("int64[4] s", f"Resize<{how}>(x, , , s)".replace("<>", ""), tmp_path, 13)
    for sizes in SIZES:
        both.agree(x=X, s=np.array((1, 2, *sizes)))
    both.agree(x=X, s=np.array((1, 2, 5, 4)))


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_sizes_in_proportion(policy: str, tmp_path: Path) -> None:
    how = f'axes = [3, 2], keep_aspect_ratio_policy = "{policy}"'
    both = Both("int64[2] s", f"Resize<{how}>(x, , , s)", tmp_path)
    for sizes in ((7, 8), (3, 9), (2, 2)):
        both.agree(x=X, s=np.array(sizes))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_region(mode: str, tmp_path: Path) -> None:
    """Both the region and the sizes; what lies outside has another value.  ONNX Runtime shows a dim that keeps its size
    as a whole, whatever its region is: such sizes are left out."""
    how = f'mode = "{mode}", coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 9.0'
    both = Both("float[8] roi, int64[4] s", f"Resize<{how}>(x, roi, , s)", tmp_path, 13)
    for start, end in ((0.2, 0.8), (-0.25, 1.25), (0.5, 0.5), (0.9, 0.1)):
        roi = np.array([0, 0, start, 0.1, 1, 1, end, 0.7], np.float32)
        for sizes in SIZES[1:]:
            both.agree(x=X, roi=roi, s=np.array((1, 2, *sizes)))


@pytest.mark.parametrize("op", ["Upsample", "Resize"])
def test_places_at_multiples(op: str, tmp_path: Path) -> None:
    both = Both("float[4] s", f"{op}(x, s)", tmp_path, 9 if op == "Upsample" else 10)
    for scales in ((1, 1, 2, 3), (1, 1, 1, 1), (1, 2, 1.5, 1), *([(1, 1, 0.5, 0.75)] if op == "Resize" else [])):
        both.agree(x=X, s=np.array(scales, np.float32))


def test_integers(tmp_path: Path) -> None:
    both = Both("float[2] s", 'Resize<axes = [2, 3], mode = "linear">(x, , s)', tmp_path, kind="int32")
    both.agree(x=np.arange(40, dtype=np.int32).reshape(1, 2, 5, 4), s=np.array((2, 2), np.float32))
