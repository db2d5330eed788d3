"""Files of every format load for ever."""

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
DEVICES = CORPUS / "format4_devices.hrm"
WINDOWS = sorted(CORPUS.glob("*_windows.hrm"))


def test_every_format_is_there() -> None:
    assert [path.name for path in FILES] == [f"format{number}.hrm" for number in range(1, FORMAT + 1)]


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


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="none of its targets is this machine")
def test_a_loop_between_two_devices_runs() -> None:
    targets = ["half+x86-64-v2"] if platform.machine() == "x86_64" else []
    for session in [hr.load(DEVICES), *(hr.load(DEVICES, device=target) for target in targets)]:
        _check_turns(session)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its host is an x86-64")
def test_a_loop_beside_an_opencl_device_runs(opencl: Any) -> None:
    session = hr.load(DEVICES, device="opencl")
    assert session.device == "opencl"
    _check_turns(session)


def _check_turns(session: hr.Session) -> None:
    session.verify()
    x = _ramp(5, 4)
    h = np.maximum(x @ _ramp(4, 4), 0)
    for turns in (0, 3, 1):  # rows grow, and do not
        found = session.run({"x": x, "turns": np.int64(turns)})
        np.testing.assert_array_equal(found["y"], (h * (turns + 1)) @ _ramp(4, 3))
        np.testing.assert_array_equal(found["rows"], [-h * (turn + 2) for turn in range(turns)] or np.empty((0, 5, 4)))


def _ramp(*shape: int) -> Array:
    """-3 to 3, over and over."""
    return (np.arange(math.prod(shape)) % 7 - 3).astype(np.float32).reshape(shape)
