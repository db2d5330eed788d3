"""Files of earlier formats load for ever."""

import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.codegen.artefact.layout import FORMAT
from headrace.codegen.artefact.reader import read
from headrace.runtime import python as hr

Array = np.ndarray[Any, Any]
CORPUS = Path(__file__).parents[2] / "corpus"
FILES = sorted(CORPUS.glob("format?.hrm"))
WINDOWS = sorted(CORPUS.glob("*_windows.hrm"))


def test_every_earlier_format_is_there() -> None:
    assert [path.name for path in FILES] == [f"format{number}.hrm" for number in range(1, FORMAT)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_it_reads(path: Path) -> None:
    artefact = read(path, check_constants=True).artefact
    assert [variant.preset for variant in artefact.variants] == ["x86-64-v2", "aarch64"]
    assert [launch.nodes for launch in artefact.variants[0].program.launches] == [("Gemm_0", "Relu_1")]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="neither of its targets is this machine")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_it_runs(path: Path) -> None:
    session = hr.load(path, threads=1, record=True)
    session.verify()
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    w = np.arange(12, dtype=np.float32).reshape(4, 3) - 5
    expected = np.maximum(x @ w + np.array([1, -2, 3], np.float32), 0)
    np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-6, atol=1e-6)
    assert all(record.nodes == "Gemm_0, Relu_1" for record in session.take_records())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="neither of its targets is this machine")
@pytest.mark.parametrize("path", WINDOWS, ids=lambda p: p.stem)
def test_a_convolution_and_dense_layers_run(path: Path) -> None:
    session = hr.load(path, threads=1)
    session.verify()
    x = _ramp(2, 2, 4, 5) / 4
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    features = np.maximum(np.einsum("bchwij,ocij->bohw", windows, _ramp(4, 2, 3, 3)), 0).mean((2, 3))
    expected = np.maximum(features @ _ramp(4, 6) + _ramp(6), 0) @ _ramp(6, 3)
    np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def _ramp(*shape: int) -> Array:
    """-3 to 3, over and over."""
    return (np.arange(math.prod(shape)) % 7 - 3).astype(np.float32).reshape(shape)
