"""Reductions with lanes of their own and maps along a row: right for all remainders, in LLVM code and in numpy."""

from typing import Any

import numpy as np
import pytest

from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module
from headrace.ir.verify import verify
from headrace.passes.kernel.bind import Bind
from headrace.passes.kernel.bind_reduction import BindReduction
from headrace.passes.kernel.realize import Realize
from headrace.passes.kernel.reorder import Reorder
from headrace.passes.kernel.tile import Tile

DOT = """
kernel.func @f(%x: buffer<f32[m, h, n]>, %w: buffer<f32[p, h, n]>, %y: buffer<f32[m, p]>)
    {outputs = 1, scalars = ["h", "m", "n", "p"]} {
  kernel.reduce (i: parallel m, j: parallel p, g: reduction h, k: reduction n)
      reads(%x[i, g, k], %w[j, g, k]) writes(%y[i, j])
    init { %z = kernel.constant {value = 0.0, type = f32} : f32   kernel.yield %z }
    step { ^(%a: f32, %c: f32, %acc: f32):  %s = kernel.muladd %a, %c, %acc : f32   kernel.yield %s }
    combine { ^(%p: f32, %q: f32):  %s = kernel.add %p, %q : f32   kernel.yield %s }
    finish { ^(%acc: f32):  kernel.yield %acc }
}
"""
LARGEST = """
kernel.func @f(%x: buffer<f32[n]>, %y: buffer<i64[]>) {outputs = 1, scalars = ["n"]} {
  kernel.reduce (k: reduction n) reads(%x[k]) writes(%y[])
    init {
      %v = kernel.constant {value = -inf, type = f32} : f32
      %p = kernel.constant {value = -1, type = i64} : i64
      kernel.yield %v, %p
    }
    step { ^(%a: f32, %v: f32, %p: i64):
      %at = kernel.index {value = k} : i64
      %more = kernel.compare %a, %v {predicate = gt} : bool
      %w = kernel.select %more, %a, %v : f32
      %q = kernel.select %more, %at, %p : i64
      kernel.yield %w, %q
    }
    combine { ^(%v: f32, %p: i64, %w: f32, %q: i64):
      %more = kernel.compare %w, %v {predicate = gt} : bool
      %u = kernel.select %more, %w, %v : f32
      %r = kernel.select %more, %q, %p : i64
      kernel.yield %u, %r
    }
    finish { ^(%v: f32, %p: i64):  kernel.yield %p }
}
"""
SCALE = """
kernel.func @f(%x: buffer<f32[m, n]>, %s: buffer<f32[m]>, %y: buffer<f32[m, n]>) {outputs = 1, scalars = ["m", "n"]} {
  kernel.map (i: parallel m, k: parallel n) reads(%x[i, k], %s[i]) writes(%y[i, k]) {
  ^(%a: f32, %b: f32):
    %c = kernel.mul %a, %b : f32
    kernel.yield %c
  }
}
"""


def scheduled(text: str, steps: list[Pass]) -> tuple[KernelFunc, KernelFunc]:
    """The kernel before and after it became loops."""
    module = parse_module(text)
    for step in steps:
        step.run(module, Rewriter(), PassContext())
        verify(module)
    structured = next(module.clone().functions(KernelFunc))
    Realize().run(module, Rewriter(), PassContext())
    verify(module)
    return structured, next(module.functions(KernelFunc))


def test_rows_that_share_a_read(toolchain: Any) -> None:
    """Four columns at a time; the interpreter sums in the same order before and after realize."""
    lanes = toolchain.facts.lanes(4)
    steps: list[Pass] = [
        Tile("f", "k", 2 * lanes),
        Tile("f", "k_i", lanes),
        Tile("f", "j", 4),
        Reorder("f", ("i", "j_o", "g", "k_o", "j_i", "k_i_o", "k_i_i")),
        Bind("f", ("i", "j_o"), "task"),
        Bind("f", ("j_i",), "unroll"),
        BindReduction("f", ("k_i_o", "k_i_i")),
    ]
    structured, loops = scheduled(DOT, steps)
    compiled = toolchain.compile([loops])
    rng = np.random.default_rng(0)
    for m, p, h, n in (
        (1, 1, 1, 1),
        (2, 5, 2, 2 * lanes + 3),
        (1, 4, 3, 2 * lanes),
        (2, 3, 1, 0),
        (1, 2, 2, 3 * lanes),
    ):
        x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, h, n), (p, h, n)))
        symbols = {"h": h, "n": n}
        before, after = (run_kernel(f, [x, w], symbols).outputs[0] for f in (structured, loops))
        np.testing.assert_array_equal(before, after)
        np.testing.assert_allclose(compiled.run("f", [x, w], symbols)[0], after, rtol=1e-5, atol=1e-5)


def test_two_accumulators_and_an_index(toolchain: Any) -> None:
    steps: list[Pass] = [Tile("f", "k", 4), BindReduction("f", ("k_i",))]
    structured, loops = scheduled(LARGEST, steps)
    compiled = toolchain.compile([loops])
    for n in (1, 3, 4, 11):
        x = np.random.default_rng(n).permutation(n).astype(np.float32)
        assert run_kernel(structured, [x]).outputs[0] == run_kernel(loops, [x]).outputs[0] == np.argmax(x)
        assert compiled.run("f", [x])[0] == np.argmax(x)


@pytest.mark.parametrize("vectors", [1, 4])
def test_maps(toolchain: Any, vectors: int) -> None:
    lanes = toolchain.facts.lanes(4)
    steps: list[Pass] = [Tile("f", "k", vectors * lanes)]
    names = ["k_i"]
    if vectors > 1:
        steps.append(Tile("f", "k_i", lanes))
        names = ["k_i_o", "k_i_i"]
    steps += [Bind("f", ("i",), "task"), Bind("f", tuple(names[:-1]), "unroll"), Bind("f", tuple(names[-1:]), "vector")]
    _, loops = scheduled(SCALE, steps)
    compiled = toolchain.compile([loops])
    for m, n in ((1, 1), (2, lanes - 1), (3, vectors * lanes), (2, 5 * lanes + 1), (1, 0)):
        x, s = np.arange(m * n, dtype=np.float32).reshape(m, n), np.arange(m, dtype=np.float32)
        np.testing.assert_array_equal(compiled.run("f", [x, s])[0], x * s[:, None])
