"""Contractions and windows at sizes around the tiles of each CPU, compiled and run, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from operator_models import MODELS, SIZES, inputs_of

from headrace.compiler.driver import compile
from headrace.runtime.python import load
from headrace.targets import find_target

HOST, FAMILY = find_target("host")
ABLE = list(FAMILY.presets)[: list(FAMILY.presets).index(HOST) + 1]


@pytest.mark.parametrize("preset", ABLE)
@pytest.mark.parametrize("name", MODELS)
def test_as_onnxruntime(name: str, preset: str, tmp_path: Path) -> None:
    """Every size by one artefact, within 1e-5 of the largest magnitude."""
    model = MODELS[name]()
    (tmp_path / "m.onnx").write_bytes(model.model())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", target=preset)
    session = load(tmp_path / "m.hrm", threads=1)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(model.model(), options, providers=["CPUExecutionProvider"])
    for sizes in SIZES[name]:
        inputs = inputs_of(model, sizes)
        found = session.run(inputs)
        for label, expected in zip(model.outputs, reference.run(model.outputs, inputs), strict=True):
            assert found[label].shape == expected.shape, (label, sizes)
            error = float(np.abs(found[label] - expected).max(initial=0))
            assert error <= 1e-5 * float(np.abs(expected).max(initial=1)), (label, sizes)
