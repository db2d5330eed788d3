"""Same model, same options: same bytes, wherever, whenever and by whatever process."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from model_examples import Example

TARGET = "x86-64-v2,x86-64-v4,aarch64"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compiled(model: Path, output: Path, prefix: tuple[str, ...] = (), **variables: str) -> str:
    """The digest of what a process of its own writes."""
    command = [*prefix, sys.executable, "-m", "headrace", "compile", str(model), "-o", str(output), "--target", TARGET]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, **variables}, capture_output=True)
    return digest(output)


@pytest.fixture(scope="module")
def usual(example: Example, tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(example.path, tmp_path_factory.mktemp("usual") / "m.hrm", PYTHONHASHSEED="0")


def numpy_features() -> str:
    """CPU features that numpy chose among at run time here, and can be told to leave alone."""
    umath = importlib.import_module("numpy._core._multiarray_umath")
    return " ".join(f for f in umath.__cpu_dispatch__ if umath.__cpu_features__.get(f))


VARIATIONS = {
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "an older CPU for numpy": {"NPY_DISABLE_CPU_FEATURES": numpy_features()},
    "an older CPU for OpenBLAS": {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"},
    "another language and time zone": {"LC_ALL": "C", "TZ": "Asia/Tokyo"},
}


@pytest.mark.parametrize("variables", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_environment(example: Example, usual: str, tmp_path: Path, variables: dict[str, str]) -> None:
    assert compiled(example.path, tmp_path / "m.hrm", **variables) == usual


def test_one_core(example: Example, usual: str, tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    assert compiled(example.path, tmp_path / "m.hrm", ("taskset", "-c", str(core))) == usual


def test_other_names(example: Example, usual: str, tmp_path: Path) -> None:
    folder = tmp_path / "some where else"
    folder.mkdir()
    shutil.copy(example.path, folder / "renamed.onnx")
    assert compiled(folder / "renamed.onnx", folder / "result.hrm") == usual
