"""One file for several targets: what it shares, how large it is, and that each of them computes the same."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.codegen.artefact.reader import Contents, read
from headrace.compiler.driver import compile
from headrace.runtime.python import UnsupportedError, load

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
    sizes = _sizes(read(together))
    assert together.stat().st_size <= 1.02 * (sizes["constants"] + sizes["code"])


def test_each_target_computes_the_same(together: Path, monkeypatch: Any) -> None:
    x = np.random.default_rng(4).normal(0, 1, (5, WIDTHS[0])).astype(np.float32)
    monkeypatch.setenv("HEADRACE_CPU", "x86-64-v3")
    session = load(together)
    assert (session.target, session.device) == ("x86-64-v3", "cpu")
    expected = session.run({"x": x})["r2"]
    monkeypatch.delenv("HEADRACE_CPU")
    for device in ("x86-64-v4", "opencl"):
        try:
            other = load(together, device=device)
        except UnsupportedError:
            continue  # this machine has no such thing; test_devices.py has what is said then
        np.testing.assert_allclose(other.run({"x": x})["r2"], expected, rtol=1e-4, atol=1e-5)
