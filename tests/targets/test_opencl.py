"""Whole models on PoCL, from the compiler to the C runtime: equal to the reference, for both presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_examples import LARGER, REAL, assert_close, example_named

from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import compile, compile_module
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.runtime.python import InputError, Session, UnsupportedError, load
from headrace.targets import find_target
from headrace.targets.opencl.image import NEEDS_FP64, local_bytes, needs

PRESETS = ("opencl", "opencl-cpu")
DEVICE = "opencl:Portable Computing Language"

pytestmark = pytest.mark.usefixtures("opencl")


def on_device(text: str, preset: str, folder: Path, **options: Any) -> Session:
    """A session of a graph function's text."""
    compile_module(parse_module(text), output=folder / "m.hrm", target=preset)
    return load(folder / "m.hrm", device=DEVICE, **options)


@pytest.mark.parametrize(
    ("name", "preset"), [*((n, p) for n in ("digits", *REAL) for p in PRESETS), *((n, "opencl") for n in LARGER)]
)
def test_whole_models(name: str, preset: str, tmp_path: Path) -> None:
    example = example_named(name)
    compile(example.path, output=tmp_path / "m.hrm", target=preset)
    session = load(tmp_path / "m.hrm", device=DEVICE)
    assert session.target == preset
    for batch in example.batches:
        inputs = example.inputs(batch)
        for y, expected in zip(session.run(inputs).values(), example.expected(inputs), strict=True):
            assert_close(y, expected)


def test_beside_a_cpu(tmp_path: Path) -> None:
    """One file for both; `device` picks."""
    cpu, _ = find_target("host")
    compile(model_path(), output=tmp_path / "m.hrm", target=[cpu, "opencl-cpu"])
    inputs = example_named("digits").inputs(5)
    found = [load(tmp_path / "m.hrm", device=d).run(inputs)["probabilities"] for d in ("cpu", DEVICE)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("targets", [("opencl", "opencl-cpu"), ("opencl-cpu+host", "opencl+host")])
def test_a_device_that_is_a_cpu_takes_the_code_for_one(targets: tuple[str, ...], tmp_path: Path) -> None:
    compile(model_path(), output=tmp_path / "m.hrm", target=targets)
    session = load(tmp_path / "m.hrm", device=DEVICE)
    assert session.target.startswith("opencl-cpu")
    session.run(example_named("digits").inputs(5))


def test_long_sums_have_parts_of_their_own(tmp_path: Path) -> None:
    """Few results of many terms; the parts are joined in their order, so each run gives the same bits."""
    text = """
    graph.func @main(%x: f32[5, 2048], %w: f32[2048, 37], %b: f32[37]) {input_names = ["x", "w", "b"], output_names = ["y"]} {
      %0 = graph.matmul %x, %w : f32[5, 37]
      %1 = graph.add %0, %b : f32[5, 37]
      %y = graph.relu %1 : f32[5, 37]
      graph.return %y
    }
    """
    session = on_device(text, "opencl", tmp_path, record=True)
    draw = np.random.default_rng(3)
    inputs = {n: draw.standard_normal(d).astype(np.float32) for n, d in (("x", (5, 2048)), ("w", (2048, 37)), ("b", 37))}
    first, again = session.run(inputs)["y"], session.run(inputs)["y"]
    assert len(session.take_records()) == 4
    np.testing.assert_array_equal(first, again)
    x, w, b = (inputs[n].astype(np.float64) for n in "xwb")
    np.testing.assert_allclose(first, np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-4)


LOOKUP = """
graph.func @main(%x: f32[9, 5], %i: i64[n]) {input_names = ["x", "i"], output_names = ["y"]} {
  %0 = graph.add %x, %x : f32[9, 5] loc("twice")
  %y = graph.gather %0, %i {axis = 0} : f32[n, 5] loc("lookup")
  graph.return %y
}
"""


@pytest.mark.parametrize("preset", PRESETS)
def test_a_kernel_that_fails_names_the_node(preset: str, tmp_path: Path) -> None:
    session = on_device(LOOKUP, preset, tmp_path)
    x = np.arange(45, dtype=np.float32).reshape(9, 5)
    with pytest.raises(InputError, match=r"^node 'lookup': index 9 is out of range for a dim of 9$"):
        session.run({"x": x, "i": np.array([3, 9, 1])})
    np.testing.assert_array_equal(session.run({"x": x, "i": np.array([3, -1])})["y"], 2 * x[[3, 8]])
    assert session.run({"x": x, "i": np.array([], np.int64)})["y"].shape == (0, 5)


def test_more_scratch_than_goes_at_once(tmp_path: Path) -> None:
    """Four rows have a megabyte of scratch; 85 times that is more than the driver takes, so the last 16 go later."""
    text = """
    graph.func @main(%x: f32[n, 60001]) {input_names = ["x"], output_names = ["y"]} {
      %0 = graph.exp %x : f32[n, 60001]
      %y = graph.softmax %0 {axes = [1]} : f32[n, 60001]
      graph.return %y
    }
    """
    session = on_device(text, "opencl-cpu", tmp_path)
    x = np.random.default_rng(1).random((340, 60001), np.float32)
    y = session.run({"x": x})["y"]
    for row in (0, 275, 276, 339):
        e = np.exp(np.exp(x[row].astype(np.float64)))
        np.testing.assert_allclose(y[row], e / e.sum(), rtol=1e-5)


def test_a_second_run_takes_no_memory_and_a_profile_has_times(tmp_path: Path) -> None:
    compile(model_path(), output=tmp_path / "m.hrm", target="opencl")
    session = load(tmp_path / "m.hrm", device=DEVICE, record=True)
    inputs = example_named("digits").inputs(3)
    first = session.run(inputs)
    before = session.memory_taken().allocations
    session.take_records()
    session.run(inputs, outputs=first)
    assert session.memory_taken().allocations == before
    records = session.take_records()
    assert len(records) >= 8
    assert all(r.begin_ns < r.end_ns for r in records)


def test_names_of_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile(model_path(), output=tmp_path / "m.hrm", target="opencl")
    with pytest.raises(UnsupportedError, match=r"opencl: no device 'Nowhere'; there are 0: "):
        load(tmp_path / "m.hrm", device="opencl:Nowhere")
    monkeypatch.setenv("HEADRACE_OPENCL_LIBRARY", "libnowhere.so.3")
    with pytest.raises(UnsupportedError, match=r"^opencl: libnowhere\.so\.3: cannot open .*; HEADRACE_OPENCL_LIBRARY names it$"):
        load(tmp_path / "m.hrm")
    monkeypatch.setenv("HEADRACE_OPENCL_LIBRARY", "libc.so.6")
    with pytest.raises(UnsupportedError, match=r"^opencl: libc\.so\.6 is no OpenCL 1\.2: it has no clGetPlatformIDs$"):
        load(tmp_path / "m.hrm")


def test_what_a_kernel_needs() -> None:
    (double, shared) = parse_module("""
    kernel.func @double(%x: buffer<f32[4]>, %y: buffer<f64[4]>) {outputs = 1} {
      kernel.for (i: sequential 4) {
        %v = kernel.load %x[i] : f32
        %w = kernel.cast %v {dtype = f64} : f64
        kernel.store %w, %y[i]
      }
    }
    kernel.func @shared(%x: buffer<f32[4]>, %y: buffer<f32[4]>) {outputs = 1} {
      %s = kernel.alloc {type = buffer<f32[4, 8], shared>} : buffer<f32[4, 8], shared>
      %t = kernel.alloc {type = buffer<i8[3], shared>} : buffer<i8[3], shared>
    }
    """).functions(KernelFunc)
    assert (needs(double), needs(shared)) == (NEEDS_FP64, 0)
    assert (local_bytes(double), local_bytes(shared)) == (0, 131)
