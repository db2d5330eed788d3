"""One file for several targets: what it shares, how large it is, and that each of them computes the same.

`code` in sizes is what each target has of its own to run: machine code or OpenCL C, program and table of kernels.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_examples import Example, assert_close, example_named
from onnx import TensorProto, helper, numpy_helper

from headrace.codegen.artefact.reader import Contents, read
from headrace.compiler.driver import compile
from headrace.compiler.reports.artefact import describe
from headrace.ir.errors import OptionError

TARGETS = ("x86-64-v3", "x86-64-v4", "aarch64", "opencl")
WIDTHS = (784, 512, 512, 10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dense layers, three megabytes of weights."""
    draw = np.random.default_rng(3)
    nodes, constants, value = [], [], "x"
    for number, (k, n) in enumerate(itertools.pairwise(WIDTHS)):
        for name, shape in ((f"w{number}", (k, n)), (f"b{number}", (n,))):
            constants.append(numpy_helper.from_array(draw.normal(0, 0.05, shape).astype(np.float32), name))
        nodes.append(
            helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [f"g{number}"], name=f"gemm_{number}")
        )
        nodes.append(helper.make_node("Relu", [f"g{number}"], [f"r{number}"], name=f"relu_{number}"))
        value = f"r{number}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTHS[0]])
    y = helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("several") / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.fixture(scope="module")
def together(model: Path) -> Path:
    path = model.with_name("m.hrm")
    compile(model, output=path, target=TARGETS)
    return path


def _sizes(contents: Contents) -> Counter[str]:
    """Bytes of each kind of section."""
    found: Counter[str] = Counter()
    for region in contents.regions:
        found[region.owner.partition(" of ")[0]] += region.size
    return found


def _surplus(path: Path) -> int:
    """Bytes of the file beyond constants and code."""
    sizes = _sizes(read(path))
    return sum(sizes.values()) - sum(sizes[kind] for kind in ("constants", "code", "program", "kernels"))


def test_constants_are_shared_where_equal(model: Path, together: Path) -> None:
    layouts: dict[str, int] = {}
    for target in TARGETS:
        path = model.with_name(f"{target}.hrm")
        compile(model, output=path, target=target)
        contents = read(path)
        layouts.update(zip(contents.digests, (c.size for c in contents.artefact.constants), strict=True))
    contents = read(together)
    assert sorted(contents.digests) == sorted(layouts)
    assert sum(c.size for c in contents.artefact.constants) == sum(layouts.values())


def test_the_file_is_hardly_larger_than_constants_and_code(together: Path) -> None:
    assert _surplus(together) <= 0.02 * (together.stat().st_size - _surplus(together))


def test_a_small_model_has_a_few_kilobytes_besides(tmp_path: Path) -> None:
    """The demo's: 24 sections with their digests, names of nodes, and how much work each kernel does, four times."""
    compile(example_named("digits").path, output=tmp_path / "m.hrm", target=TARGETS)
    assert _surplus(tmp_path / "m.hrm") <= 10_000


def test_kernels_as_text_are_kept_on_request(model: Path, together: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds no kernels as text: compile it with --keep-ir"):
        list(describe(read(together), kernels_as_text=True, every_byte=False))
    compile(model, output=tmp_path / "m.hrm", target=TARGETS, keep_ir=True)
    lines = list(describe(read(tmp_path / "m.hrm"), kernels_as_text=True, every_byte=False))
    kernels = [kernel for variant in read(tmp_path / "m.hrm").artefact.variants for kernel in variant.kernels]
    assert sum(line.startswith("kernel.func @") for line in lines) == len(kernels)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_each_target_computes_the_same(name: str, tmp_path: Path, emulated: list[str], opencl: Any) -> None:
    """One file: the loader takes v4 or v3, whichever the machine can run, says so, and runs others when asked to."""
    example = example_named(name)
    compile(example.path, output=tmp_path / "m.hrm", target=TARGETS)
    inputs = example.inputs(1)
    native = [sys.executable, "-m", "headrace", "run"]
    best = "x86-64-v4" if _has_avx512() else "x86-64-v3"
    expected = example.expected(inputs)[0]
    for command, options, limit, taken in (
        (native, (), "x86-64-v3", "cpu, by the code for x86-64-v3"),
        (native, (), "", f"cpu, by the code for {best}"),
        (native, ("--device", "x86-64-v3"), "", "cpu, by the code for x86-64-v3"),
        (native, ("--device", "opencl"), "", "opencl, by the code for opencl"),
        (emulated, (), "", "cpu, by the code for aarch64"),
        (emulated, ("--device", "aarch64"), "", "cpu, by the code for aarch64"),
    ):
        said, y = _run(command, options, limit, example, inputs, tmp_path)
        assert said == f"ran on {taken}"
        assert_close(y, expected)


def _has_avx512() -> bool:
    return "avx512vl" in Path("/proc/cpuinfo").read_text()


def _run(
    command: Sequence[str], options: Sequence[str], limit: str, example: Example, inputs: dict[str, Any], folder: Path
) -> tuple[str, Any]:
    """What the command says last, and the first result; `limit` is what the loader is to believe of the CPU."""
    named = []
    for number, (name, array) in enumerate(inputs.items()):
        np.save(folder / f"{number}.npy", array)
        named += ["--input", f"{name}={number}.npy"]
    output = read(folder / "m.hrm").artefact.signature.outputs[0].name
    whole = [*command, "m.hrm", *options, *named, "--output", f"{output}=y.npy"]
    environment = {**os.environ, "HEADRACE_CPU": limit}
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], np.load(folder / "y.npy")
