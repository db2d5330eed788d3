"""Presets by name, their facts, and what the CPU schedule and emitter make of a kernel."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from headrace.codegen.artefact.features import FEATURES
from headrace.codegen.workers import host
from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import read_model, run_passes
from headrace.ir.errors import TargetError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pipeline import Pipeline
from headrace.ir.text import parse_module
from headrace.targets import cpu, find_target, list_targets

PRESETS = ("aarch64", "x86-64-v2", "x86-64-v3", "x86-64-v4")


def test_presets_by_name() -> None:
    assert [p for p in list_targets() if p in PRESETS] == list(PRESETS)
    for preset in PRESETS:
        name, target = find_target(preset)
        facts = target.presets[preset]
        assert (name, facts.preset) == (preset, preset)
        assert facts.triple.count("-") == 3
        assert facts.vector_bytes in (16, 32, 64)
        assert target.pipeline().is_file()
        assert target.driver == "cpu"


def test_the_loader_knows_every_feature() -> None:
    for preset in PRESETS:
        _, target = find_target(preset)
        assert set(target.required_features(preset)) <= set(FEATURES[target.machine])


def test_levels_of_x86_64_hold_those_below() -> None:
    _, target = find_target("x86-64-v4")
    v2, v3, v4 = (set(target.required_features(f"x86-64-v{level}")) for level in (2, 3, 4))
    assert v2 < v3 < v4
    assert [target.presets[f"x86-64-v{level}"].has_fma for level in (2, 3, 4)] == [False, True, True]


def test_host_is_the_best_that_runs_here() -> None:
    preset, target = find_target("host")
    features = set(host().features)
    assert set(target.required_features(preset)) <= features
    better = list(target.presets)[list(target.presets).index(preset) + 1 :]
    assert not any(set(target.required_features(p)) <= features for p in better)
    assert platform.machine().replace("_", "-") in (target.machine, "arm64")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x86-64-v9", r"unknown target 'x86-64-v9'; did you mean 'x86-64-v\d'\?; expected one of aarch64, opencl, "),
        ("hots", r"unknown target 'hots'; did you mean 'host'\?"),
        ("", r"unknown target ''; expected one of "),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=f"^{message}"):
        find_target(name)


# ---- the schedule ------------------------------------------------------------------------------------------------

DENSE = """
graph.func @main(%x: f32[n, 32], %w: f32[32, 96]) {input_names = ["x", "w"], output_names = ["y"]} {
  %y = graph.matmul %x, %w : f32[n, 96]
  graph.return %y
}
"""


def digits(preset: str) -> Module:
    """The demo's model, down to loops."""
    module = read_model(model_path(), None)
    run_passes(module, preset, find_target(preset)[1], None, None)
    return module


@pytest.mark.parametrize(
    ("preset", "lanes", "rows", "vectors"),
    [("x86-64-v2", 4, 3, 3), ("x86-64-v3", 8, 4, 3), ("x86-64-v4", 16, 4, 6), ("aarch64", 4, 6, 4)],
)
def test_contractions_get_a_register_tile(preset: str, lanes: int, rows: int, vectors: int) -> None:
    """Rows by vectors as the registers hold them and the extents suggest, by facts alone; then what is left of rows."""
    _, target = find_target(preset)
    module = parse_module(DENSE)
    run_passes(module, preset, target, "graph.cluster,kernel.lower", None)
    (function,) = module.functions(KernelFunc)
    steps = target.schedule(function, target.presets[preset])
    assert steps[:3] == [
        f"kernel.tile{{func=matmul axis=i1 by={lanes * vectors}}}",
        f"kernel.tile{{func=matmul axis=i0 by={rows}}}",
        f"kernel.tile{{func=matmul axis=i1_i by={lanes}}}",
    ]
    sizes = "4 2 1" if rows > 4 else "2 1"
    assert steps[-2:] == [
        "kernel.bind{func=matmul axes=[i1_i_i] kind=vector}",
        f"kernel.peel{{func=matmul axis=i0_i sizes=[{sizes}]}}",
    ]
    assert str(Pipeline.parse(",".join(steps))) == ",".join(steps)


def test_a_kernel_that_is_loops_already_needs_no_steps() -> None:
    _, target = find_target("x86-64-v3")
    for function in digits("x86-64-v3").functions(KernelFunc):
        assert target.schedule(function, target.presets["x86-64-v3"]) == []


# ---- the emitter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_every_kernel_has_an_entry(preset: str) -> None:
    _, target = find_target(preset)
    kernels = list(digits(preset).functions(KernelFunc))
    assert len(kernels) > cpu.GROUP  # more than one LLVM module
    emitted = target.emit(kernels, target.presets[preset])
    assert sorted(emitted.entries) == sorted(k.function_name for k in kernels)
    assert len(set(emitted.entries.values())) == len(kernels)
    assert all(0 <= entry < len(emitted.code) for entry in emitted.entries.values())
    assert target.emit(kernels, target.presets[preset]) == emitted


def test_pipeline_text_names_no_target() -> None:
    folder = Path(cpu.__file__).parent
    texts = [path.read_text() for path in folder.rglob("*.pipeline")]
    assert texts
    assert not any(preset in text for preset in PRESETS for text in texts)


@pytest.mark.parametrize("preset", [*PRESETS, "opencl"])
def test_a_copy_of_a_pipeline_says_the_same(preset: str, tmp_path: Path) -> None:
    """The file of the package that it includes is found from anywhere."""
    path = find_target(preset)[1].pipeline()
    (tmp_path / "mine.pipeline").write_text(path.read_text())
    assert Pipeline.read(tmp_path / "mine.pipeline") == Pipeline.read(path) == Pipeline.parse(path.read_text())
