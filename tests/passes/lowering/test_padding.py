"""Padded buffers: the border's kernel and the one of the middle write each element once, and what graph.pad says."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.ir.core import walk
from headrace.ir.interpret import interpret
from headrace.ir.pass_base import PassContext
from headrace.ir.program.ops.program import Launch
from headrace.ir.rewrite import Rewriter
from headrace.ir.text.parser import parse_module
from headrace.ir.verify import verify
from headrace.passes.graph.cluster import Cluster
from headrace.passes.kernel.lower import Lower

# Dims, padding before and after; the last dim, or more than two dims, make no frame.
CASES = {
    "both sides": ("n, 3, 4, 2", "0, 1, 1, 0", "0, 1, 1, 0", True),
    "above only": ("n, 3, 4, 2", "0, 2, 0, 0", "0, 0, 0, 0", True),
    "left only": ("n, 3, 4, 2", "0, 0, 3, 0", "0, 0, 0, 0", True),
    "right and below": ("n, 3, 4, 2", "0, 0, 0, 0", "0, 2, 1, 0", True),
    "uneven": ("n, 3, 4, 2", "0, 1, 0, 0", "0, 2, 3, 0", True),
    "one dim": ("n, 5, 2", "0, 1, 0", "0, 2, 0", True),
    "the first dims": ("3, n, 2", "1, 2, 0", "0, 1, 0", True),
    "symbolic rows": ("2, n, m, 3", "0, 1, 2, 0", "0, 1, 1, 0", True),
    "inner of two": ("n, 2, 3, 2, 2", "0, 0, 2, 1, 0", "0, 0, 1, 0, 0", True),
    "the last dim": ("n, 3, 4", "0, 1, 1", "0, 1, 1", False),
    "three dims": ("n, 2, 3, 2, 2", "0, 1, 2, 1, 0", "0, 1, 1, 0, 0", False),
    "dims apart": ("n, 2, 3, 2", "1, 0, 1, 0", "0, 0, 0, 0", False),
    "cut off": ("n, 4, 4, 2", "0, -1, 1, 0", "0, 0, 0, 0", False),
}


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("case", CASES)
def test_padding(case: str, size: int) -> None:
    dims, before, after, is_frame = CASES[case]
    sides = [[int(n) for n in text.split(",")] for text in (before, after)]
    padded = ", ".join(f"{b + a} + {d}" for b, a, d in zip(*sides, dims.split(","), strict=True))
    module = parse_module(
        f"""module {{
          graph.func @main(%x: f32[{dims}]) {{input_names = ["x"], output_names = ["y"]}} {{
            %0 = graph.neg %x : f32[{dims}]
            %1 = graph.pad %0 {{before = [{before}], after = [{after}], value = 7.0}} : f32[{padded}]
            graph.return %1
          }}
        }}"""
    )
    shape = [{"n": size, "m": 3}.get(d.strip()) or int(d) for d in dims.split(",")]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (expected,) = interpret(module, "main", [x])
    for one in (Cluster(), Lower()):
        one.run(module, Rewriter(), PassContext())
        verify(module)
    (found,) = interpret(module, "main", [x])
    np.testing.assert_array_equal(found, expected)
    assert any(launch.kernel.name == "border" for launch in walk(module, Launch)) == is_frame
