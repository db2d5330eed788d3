"""DFT along an axis that comes in when the model runs, against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import parser

import headrace
from headrace.runtime.python import HeadraceRuntimeError


def test_an_axis_that_is_data(tmp_path: Path) -> None:
    text = "(float[2, 5, 6, 1] x, int64 axis) => (float[2, 5, 6, 2] y) { y = DFT(x, , axis) }"
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> g {text}')
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = headrace.load(tmp_path / "m.hrm")
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 1)).astype(np.float32)
    for axis in (0, 1, 2, -2, -4):
        found = session.run({"x": x, "axis": np.array(axis)})["y"]
        expected = np.fft.fft(x[..., 0], axis=axis if axis >= 0 else axis + 1)
        np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=1e-5)
    for axis in (3, -1, 4):
        with pytest.raises(HeadraceRuntimeError, match="node 'DFT_0': index"):
            session.run({"x": x, "axis": np.array(axis)})
