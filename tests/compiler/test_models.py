"""Whole models: compiled once, run by the C runtime alone, on each CPU that this machine can be or emulate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_examples import Example, assert_close

from headrace.compiler.driver import compile
from headrace.runtime.python import UnsupportedError, load
from headrace.targets import find_target, list_targets

HOST, FAMILY = find_target("host")
X86 = [p for p, family in list_targets().items() if family is FAMILY]
ABLE = X86[: X86.index(HOST) + 1]


@pytest.mark.parametrize("preset", ABLE)
def test_one_artefact_takes_every_batch(example: Example, preset: str, tmp_path: Path) -> None:
    compile(example.path, output=tmp_path / "m.hrm", target=preset)
    session = load(tmp_path / "m.hrm", threads=2)
    assert session.target == preset
    for batch in example.batches:
        inputs = example.inputs(batch)
        found = session.run(inputs)
        for (_, y), expected in zip(found.items(), example.expected(inputs), strict=True):
            assert_close(y, expected)


WITHOUT_COMPILER = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("llvmlite", "onnx", "lark", "networkx", "onnxruntime"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Missing())
import numpy as np
from headrace import load

session = load(sys.argv[1])
with np.load(sys.argv[2]) as inputs:
    results = session.run(dict(inputs))
np.save(sys.argv[3], next(iter(results.values())))
loaded = [m for m in sys.modules if m.startswith("headrace.") and not m.startswith("headrace.runtime")]
assert not loaded, loaded
"""


def test_runs_where_the_compiler_is_not(example: Example, tmp_path: Path) -> None:
    compile(example.path, output=tmp_path / "m.hrm")
    inputs = example.inputs(1)
    np.savez(tmp_path / "x.npz", **inputs)
    arguments = [tmp_path / "m.hrm", tmp_path / "x.npz", tmp_path / "y.npy"]
    subprocess.run([sys.executable, "-c", WITHOUT_COMPILER, *arguments], check=True, timeout=60)
    assert_close(np.load(tmp_path / "y.npy"), example.expected(inputs)[0])


def test_the_loader_takes_the_best_that_the_machine_has(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if FAMILY.machine != "x86-64":
        pytest.skip("levels of x86-64")
    compile(example.path, output=tmp_path / "all.hrm", target=X86)
    compile(example.path, output=tmp_path / "v4.hrm", target="x86-64-v4")
    for preset in ABLE:
        monkeypatch.setenv("HEADRACE_CPU", preset)
        assert load(tmp_path / "all.hrm").target == preset
    monkeypatch.setenv("HEADRACE_CPU", "x86-64-v3")
    with pytest.raises(
        UnsupportedError, match=r"v4\.hrm: no target in it runs on this machine: x86-64-v4 needs avx512bw"
    ):
        load(tmp_path / "v4.hrm")


def test_targets_share_their_constants(tmp_path: Path, example: Example) -> None:
    sizes = []
    for target in (X86[1:2], X86[1:2] * 2, X86):
        compile(example.path, output=tmp_path / "m.hrm", target=target)
        sizes.append((tmp_path / "m.hrm").stat().st_size)
    one, twice, all_of_them = sizes
    assert one == twice  # a target named twice is one
    alone = 0
    for target in X86:
        compile(example.path, output=tmp_path / "m.hrm", target=target)
        alone += (tmp_path / "m.hrm").stat().st_size
    assert all_of_them < alone


def test_aarch64(example: Example, emulated: list[str], tmp_path: Path) -> None:
    compile(example.path, output=tmp_path / "m.hrm", target="aarch64")
    inputs = example.inputs(1)
    arguments = []
    for number, (name, array) in enumerate(inputs.items()):
        np.save(tmp_path / f"{number}.npy", array)
        arguments += ["--input", f"{name}={number}.npy"]
    command = [*emulated, "m.hrm", *arguments, "--output-dir", "out"]
    (tmp_path / "out").mkdir()
    subprocess.run(command, check=True, cwd=tmp_path, timeout=300, env={**os.environ, "HEADRACE_CPU": ""})
    (result,) = (tmp_path / "out").iterdir()
    assert_close(np.load(result), example.expected(inputs)[0])
