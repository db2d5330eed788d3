"""Dims that nothing divides, on PoCL: primes below, between and above what workgroups, tiles and vectors take.

Both presets; one file for all sizes of its symbols.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile_module
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.text import parse_module
from headrace.ir.types import DTYPES, TensorType
from headrace.runtime.python import load

pytestmark = pytest.mark.usefixtures("opencl")

DEVICE = "opencl:Portable Computing Language"
FLOATS, INTEGERS = ("f32", "f16", "bf16", "f64"), ("i8", "i64", "u8")
SIZES = [{"n": 1, "k": 1}, {"n": 7, "k": 3}, {"n": 67, "k": 31}, {"n": 13, "k": 131}]

# Parameters and body, whose types are T.
ARITHMETIC = {
    "elementwise": ("%x: T[n, 37], %b: T[37]", "%0 = graph.mul %x, %b   %y = graph.add %0, %x"),
    "one_by_one": ("%x: T[n, 1, k], %b: T[5, 1]", "%y = graph.max %x, %b"),
    "product": ("%x: T[n, k], %w: T[k, 71]", "%y = graph.matmul %x, %w"),
    "products": ("%x: T[3, n, k], %w: T[3, k, 29]", "%y = graph.matmul %x, %w"),
    "row_times_matrix": ("%x: T[k], %w: T[k, n]", "%y = graph.matmul %x, %w"),
    "rows": ("%x: T[n, k]", "%y = graph.reduce %x {kind = sum, axes = [1], keepdims = false}"),
    "columns": ("%x: T[n, k]", "%y = graph.reduce %x {kind = max, axes = [0], keepdims = true}"),
    "everything": ("%x: T[n, k]", "%y = graph.reduce %x {kind = min, axes = [0, 1], keepdims = false}"),
    "transposed": ("%x: T[n, 5, k]", "%y = graph.transpose %x {perm = [2, 0, 1]}"),
    "joined": ("%x: T[n, 3], %b: T[n, 7]", "%y = graph.concat %x, %b {axis = 1}"),
}
REAL_NUMBERS = {
    "softmax": ("%x: T[n, k]", "%y = graph.softmax %x {axes = [1]}"),
    "softmax_of_columns": ("%x: T[k, 11, n]", "%y = graph.softmax %x {axes = [0]}"),
    "function": ("%x: T[n, k]", "%0 = graph.tanh %x   %y = graph.sigmoid %0"),
    "window": (
        "%x: T[n, 3, 11, 13], %w: T[5, 3, 3, 3]",
        "%y = graph.conv %x, %w {strides = [1, 1], dilations = [1, 1], before = [1, 0], after = [0, 1]}",
    ),
    "strided": (
        "%x: T[n, 17, 7, 5], %w: T[23, 17, 1, 2]",
        "%y = graph.conv %x, %w {strides = [2, 1], dilations = [1, 2], before = [0, 0], after = [0, 0]}",
    ),
    "window_of_each": (
        "%x: T[n, 7, 11, 5], %w: T[7, 1, 3, 3]",
        "%y = graph.conv %x, %w {strides = [1, 1], dilations = [1, 1], before = [1, 1], after = [1, 1], groups = 7}",
    ),
    "pool": (
        "%x: T[n, 3, 11, 7]",
        "%y = graph.max_pool %x {kernel = [3, 2], strides = [2, 2], dilations = [1, 1], before = [0, 0], after = [0, 0]}",
    ),
}
CASES = [(t, "opencl") for t in (*FLOATS, *INTEGERS)] + [(t, "opencl-cpu") for t in ("f32", "f16", "i8")]


def _module(dtype: str) -> Module:
    """All graphs that the element type has as one function; each has parameters and a result of its own."""
    graphs = ARITHMETIC | (REAL_NUMBERS if dtype in FLOATS else {})
    parameters, bodies, results = [], [], []
    for name, (given, body) in graphs.items():
        text = f"{given}|{body}".replace("%", f"%{name}_").replace(": T[", f": {dtype}[")
        given, body = text.split("|")
        parameters.append(given)
        bodies.append(body)
        results.append(f"%{name}_y")
    listed = ", ".join(parameters)
    names = ", ".join(f'"{p.split(":")[0].strip(" %")}"' for p in listed.split(", %"))
    outputs = ", ".join(f'"{name}"' for name in graphs)
    return parse_module(
        f"graph.func @main({listed}) {{input_names = [{names}], output_names = [{outputs}]}} "
        f"{{ {'   '.join(bodies)} graph.return {', '.join(results)} }}"
    )


@pytest.mark.parametrize(("dtype", "preset"), CASES)
def test_primes(dtype: str, preset: str, tmp_path: Path) -> None:
    (function,) = _module(dtype).functions(GraphFunc)
    compile_module(_module(dtype), output=tmp_path / "m.hrm", target=preset)
    session = load(tmp_path / "m.hrm", device=DEVICE)
    rng = np.random.default_rng(7)
    kind = DTYPES[dtype]
    for sizes in SIZES:
        inputs = {}
        for name, parameter in zip(function.input_names, function.parameters, strict=True):
            assert isinstance(parameter.type, TensorType)
            drawn = rng.uniform(-2, 2, [int(d.evaluate(sizes)) for d in parameter.type.dims])
            wide = drawn if kind.is_float else drawn * 40
            inputs[name] = (np.abs(wide) if kind.kind == "uint" else wide).astype(kind.numpy)
        found = session.run(inputs)
        assert disagreement(function, list(inputs.values()), list(found.values())) is None
