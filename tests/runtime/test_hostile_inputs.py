"""Data out of range and dims that contradict each other, under sanitizers: an error that names the node, and no harm."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

import headrace

pytestmark = pytest.mark.slow

Array = np.ndarray[Any, Any]
Case = tuple[Mapping[str, Any], str]  # inputs, and what the message begins with; "" where they are right
FAR = 2**63 - 1
OUT = "index {} is out of range for a dim of {}"


def f32(*dims: int) -> Array:
    return np.arange(np.prod(dims), dtype=np.float32).reshape(dims)


def i64(*numbers: Any) -> Array:
    return np.array(numbers, np.int64)


def out_of(dim: int, *good: Any, name: str = "i", x: Array, node: str) -> list[Case]:
    """Indices: right ones, then each wrong one in the place of the first."""
    found: list[Case] = [({"x": x, name: np.array(good, np.int64)}, "")]
    for wrong in (dim, -dim - 1, 2**31, -(2**31), 2**62, FAR, -FAR - 1):
        indices = np.array(good, np.int64)
        indices.reshape(-1)[0] = wrong
        found.append(({"x": x, name: indices}, f"node '{node}': {OUT.format(wrong, dim)}"))
    return found


U = f32(3, 2)
INDICES: dict[str, tuple[str, list[Case]]] = {
    "Gather": (
        "(float[n, 6] x, int64[m] i) => (float[p, 6] y) { y = Gather(x, i) }",
        out_of(4, 1, -4, 3, x=f32(4, 6), node="Gather_0"),
    ),
    "GatherElements": (
        "(float[n, k] x, int64[m, 3] i) => (float[p, q] y) { y = GatherElements<axis = 1>(x, i) }",
        out_of(6, [5, -6, 0], [1, 2, 3], x=f32(2, 6), node="GatherElements_0"),
    ),
    "GatherND": (
        "(float[n, k, 3] x, int64[m, 2] i) => (float[p, 3] y) { y = GatherND(x, i) }",
        out_of(4, [3, 0], [-4, 1], x=f32(4, 6, 3), node="GatherND_0"),
    ),
    "ScatterElements": (
        """(float[n, 3] x, int64[m, 2] i, float[m, 2] u) => (float[p, 3] y)
        { y = ScatterElements<axis = 0>(x, i, u) }""",
        [
            ({**given, "u": U}, told)
            for given, told in out_of(4, [3, -4], [0, 1], [2, 2], x=f32(4, 3), node="ScatterElements_0")
        ],
    ),
    "ScatterND": (
        """(float[n, 2] x, int64[m, 1] i, float[m, 2] u) => (float[p, 2] y) { y = ScatterND(x, i, u) }""",
        [({**given, "u": U}, told) for given, told in out_of(4, [3], [-4], [0], x=f32(4, 2), node="ScatterND_0")],
    ),
    "Compress": (
        "(float[n, 2] x, bool[m] i) => (float[p, 2] y) { y = Compress<axis = 0>(x, i) }",
        [
            ({"x": f32(3, 2), "i": np.array([True, False, True])}, ""),
            ({"x": f32(3, 2), "i": np.ones(9, bool)}, f"node 'Compress_0': {OUT.format(3, 3)}"),
        ],
    ),
}

CONTRADICTIONS: dict[str, tuple[str, list[Case]]] = {
    "Add": (
        "(float[n, k] x, float[m, 4] z) => (float[p, 4] y) { y = Add(x, z) }",
        [({"x": f32(*a), "z": f32(*b)}, told) for a, b, told in [
            ((3, 4), (3, 4), ""), ((3, 1), (1, 4), ""), ((3, 4), (2, 4), "node 'Add_0': "),
            ((3, 5), (3, 4), "node 'Add_0': "), ((3, 3), (1, 4), "node 'Add_0': "), ((1, 4), (3, 4), ""),
        ]],
    ),
    "MatMul": (
        "(float[n, k] x, float[l, m] z) => (float[n, m] y) { a = Relu(x)  y = MatMul(a, z) }",
        [({"x": f32(*a), "z": f32(*b)}, told) for a, b, told in [
            ((3, 4), (4, 5), ""), ((3, 4), (5, 5), "node 'MatMul_1': "), ((3, 0), (1, 5), "node 'MatMul_1': "),
            ((3, 5), (4, 5), "node 'MatMul_1': "),
        ]],
    ),
    "Concat": (
        "(float[n, k] x, float[m, l] z) => (float[p, q] y) { a = Neg(x)  y = Concat<axis = 0>(a, z) }",
        [({"x": f32(*a), "z": f32(*b)}, told) for a, b, told in [
            ((3, 4), (2, 4), ""), ((3, 4), (2, 5), "node 'Concat_1': "), ((3, 0), (2, 5), "node 'Concat_1': "),
        ]],
    ),
    "Expand": (
        "(float[n, 4] x, int64[2] i) => (float[p, q] y) { a = Neg(x)  y = Expand(a, i) }",
        [({"x": f32(*dims), "i": i64(*to)}, told) for dims, to, told in [
            ((1, 4), (3, 4), ""), ((3, 4), (1, 1), ""), ((3, 4), (2, 4), "node 'Expand_1': "),
            ((3, 4), (3, 5), "node 'Expand_1': "), ((3, 4), (-1, 4), "node 'Expand_1': "),
            ((1, 4), (FAR, 4), "node 'Expand_1': "), ((1, 4), (2**40, 4), "node 'Expand_1': "),
        ]],
    ),
    "Slice": (
        """(float[n, 4] x, int64[1] i, int64[1] e, int64[1] s) => (float[p, q] y)
        { a = Neg(x)  y = Slice(a, i, e, zero, s)  }""".replace("=> (float[p, q] y)",
                                                               "=> (float[p, q] y) <int64[1] zero = {0}>"),
        [({"x": f32(5, 4), "i": i64(i), "e": i64(e), "s": i64(s)}, told) for i, e, s, told in [
            (1, 4, 1, ""), (-FAR - 1, FAR, FAR, ""), (FAR, -FAR - 1, -FAR - 1, ""), (7, -9, -2, ""),
            (0, 5, 0, "node 'Slice_1': a step is 0"),
        ]],
    ),
    "Reshape": (
        "(float[n, 4] x, int64[2] i) => (float[p, q] y) { a = Neg(x)  b = Reshape(a, i)  y = Neg(b) }",
        [({"x": f32(3, 4), "i": i64(*to)}, told) for to, told in [
            ((2, 6), ""), ((-1, 3), ""), ((5, 3), "node 'Reshape_1': "), ((-1, 5), "node 'Reshape_1': "),
            ((-1, -1), "node 'Reshape_1': "), ((-2, -6), "node 'Reshape_1': "), ((2**62, 4), "node 'Reshape_1': "),
            ((2**32, 2**32), "node 'Reshape_1': "), ((FAR, FAR), "node 'Reshape_1': "),
        ]],
    ),
    "Tile": (
        "(float[n, 4] x, int64[2] i) => (float[p, q] y) { a = Neg(x)  y = Tile(a, i) }",
        [({"x": f32(4, 4), "i": i64(*to)}, told) for to, told in [
            ((2, 3), ""), ((-1, 1), "node 'Tile_1': "), ((2**62, 1), "node 'Tile_1': "), ((1, 2**62 + 1), "node 'Tile_1': "),
            ((2**31, 1), "node 'Tile_1': "), ((0, 2), ""),
        ]],
    ),
}  # fmt: skip


def packed(names: Sequence[str], cases: Sequence[Case]) -> bytes:
    """As hostile.c reads them."""
    words = [struct.pack("<q", len(cases))]
    for given, _ in cases:
        for name in names:
            array = np.ascontiguousarray(given[name])
            head = (array.ndim, *array.shape, array.nbytes)
            words += [struct.pack(f"<{len(head)}q", *head), array.tobytes()]
    return b"".join(words)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("name", [*INDICES, *CONTRADICTIONS])
def test_named_errors_and_no_harm(name: str, target: str, build_driver: Any, tmp_path: Path) -> None:
    graph, cases = (INDICES | CONTRADICTIONS)[name]
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g {graph}')
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    headrace.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", target=target)
    # Right inputs again and again between the others: a run that failed leaves the session as good as new.
    mixed = [case for wrong in cases for case in (wrong, cases[0])]
    (tmp_path / "cases").write_bytes(packed([i.name for i in model.graph.input], mixed))
    lines = build_driver("asan", "hostile.c")(tmp_path / "m.hrm", tmp_path / "cases").splitlines()
    assert len(lines) == len(mixed)
    for (given, told), line in zip(mixed, lines, strict=True):
        status, _, message = line.partition(" ")
        assert (status == "0") == (not told) and message.startswith(told), (given, line)
