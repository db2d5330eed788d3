"""Register tiles as kernel.realize makes them: right for all remainders, and tight inner loops."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.codegen.llvm import emit_module
from headrace.codegen.workers import Job, WorkerPool
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module
from headrace.passes.kernel.bind import Bind
from headrace.passes.kernel.realize import Realize
from headrace.passes.kernel.reorder import Reorder
from headrace.passes.kernel.tile import Tile
from headrace.targets import find_target

REGIONS = """
    init { %z = kernel.constant {value = 0.0, type = f32} : f32   kernel.yield %z }
    step { ^(%a: f32, %c: f32, %acc: f32):  %s = kernel.muladd %a, %c, %acc : f32   kernel.yield %s }
    combine { ^(%p: f32, %q: f32):  %s = kernel.add %p, %q : f32   kernel.yield %s }
    finish { ^(%acc: f32, %c: f32):  %s = kernel.add %acc, %c : f32   kernel.yield %s }
"""
ROW_MAJOR = f"""
kernel.func @f(%x: buffer<f32[m, k]>, %w: buffer<f32[k, n]>, %b: buffer<f32[n]>, %y: buffer<f32[m, n]>)
    {{outputs = 1, scalars = ["m", "k", "n"]}} {{
  kernel.reduce (i: parallel m, j: parallel n, l: reduction k)
      reads(%x[i, l], %w[l, j]) late(%b[j]) writes(%y[i, j]) {REGIONS}
}}
"""
PACKED = f"""
kernel.func @f(%x: buffer<f32[m, 64]>, %w: buffer<f32[3, 64, WIDTH]>, %b: buffer<f32[COLUMNS]>, %y: buffer<f32[m, COLUMNS]>)
    {{outputs = 1, scalars = ["m"]}} {{
  kernel.reduce (p: parallel 3, i: parallel m, l: reduction 64, j: parallel WIDTH)
      reads(%x[i, l], %w[p, l, j]) late(%b[p*WIDTH + j]) writes(%y[i, p*WIDTH + j]) {REGIONS}
}}
"""


def scheduled(text: str, steps: list[Pass]) -> KernelFunc:
    module = parse_module(text)
    for step in [*steps, Realize()]:
        step.run(module, Rewriter(), PassContext())
    return next(module.functions(KernelFunc))


def row_major(rows: int, vectors: int, lanes: int) -> KernelFunc:
    steps: list[Pass] = [
        Tile("f", "j", vectors * lanes),
        Tile("f", "j_i", lanes),
        Tile("f", "i", rows),
        Reorder("f", ("j_o", "i_o", "l", "i_i", "j_i_o", "j_i_i")),
        Bind("f", ("j_o", "i_o"), "task"),
        Bind("f", ("i_i", "j_i_o"), "unroll"),
        Bind("f", ("j_i_i",), "vector"),
    ]
    return scheduled(ROW_MAJOR, steps)


@pytest.mark.parametrize(("rows", "vectors"), [(6, 2), (1, 4), (4, 1)])
def test_all_remainders(toolchain: Any, rows: int, vectors: int) -> None:
    lanes = toolchain.facts.lanes(4)
    compiled = toolchain.compile([row_major(rows, vectors, lanes)])
    rng = np.random.default_rng(0)
    width = vectors * lanes
    for m, k, n in ((1, 1, 1), (rows, 3, width), (rows + 1, 2, width + 1), (2 * rows - 1, 5, 2 * width - 1), (3, 0, 5)):
        x, w, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((m, k), (k, n), (n,)))
        np.testing.assert_array_equal(compiled.run("f", [x, w, b], {"k": k})[0], x @ w + b)


@pytest.mark.parametrize(("preset", "rows", "vectors"), [("x86-64-v3", 6, 2), ("x86-64-v3", 4, 3), ("x86-64-v4", 8, 3)])
def test_an_inner_loop_is_loads_and_multiply_adds(
    pool: WorkerPool, tmp_path: Path, require_tool: Callable[[str], str], preset: str, rows: int, vectors: int
) -> None:
    """One broadcast for each row, one load for each vector, no spill."""
    facts = find_target(preset)[1].presets[preset]
    width = vectors * facts.lanes(4)
    steps: list[Pass] = [
        Tile("f", "j", facts.lanes(4)),
        Tile("f", "i", rows),
        Reorder("f", ("p", "i_o", "l", "i_i", "j_o", "j_i")),
        Bind("f", ("p", "i_o"), "task"),
        Bind("f", ("i_i", "j_o"), "unroll"),
        Bind("f", ("j_i",), "vector"),
    ]
    function = scheduled(PACKED.replace("WIDTH", str(width)).replace("COLUMNS", str(3 * width)), steps)
    (data,) = pool.run([Job("f", emit_module([function], facts), facts.triple, facts.cpu, facts.features)])
    path = tmp_path / "f.o"
    path.write_bytes(data)
    command = [require_tool("objdump"), "-d", "--no-show-raw-insn", str(path)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [m.group(1).split() for m in re.finditer(r"^ *[0-9a-f]+:\t(.*)$", listing, re.MULTILINE)]
    names = [line[0] for line in lines]
    first, last = names.index(next(n for n in names if "vfmadd" in n)), len(names) - 1
    while "vfmadd" not in names[last]:
        last -= 1
    loop = lines[first - 1 - vectors : last + 1]
    assert not any("rsp" in word for line in loop for word in line)
    assert sum("vfmadd" in line[0] for line in loop) == rows * vectors
    assert sum(line[0] == "vbroadcastss" for line in loop) == rows
    assert len(loop) <= rows * vectors + rows + vectors
