"""Files of earlier formats load for ever."""

import platform
from pathlib import Path

import numpy as np
import pytest

from headrace.codegen.artefact.layout import FORMAT
from headrace.codegen.artefact.reader import read
from headrace.runtime import python as hr

FILES = sorted((Path(__file__).parents[2] / "corpus").glob("*.hrm"))


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
