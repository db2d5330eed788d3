"""Checks and integers from memory in LLVM code: sites, values in scratch, names in unrolled loops, alike values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.codegen.llvm import emit_module, scratch_bytes
from headrace.codegen.scratch import check_sites
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify
from headrace.targets import find_target

# Two checks; the second in an unrolled loop, where each copy has an index of its own.
TEXT = """
kernel.func @f(%x: buffer<f32[n, 3]>, %i: buffer<i64[m]>, %y: buffer<f32[m, 2, 2]>)
    {outputs = 1, scalars = ["m", "n"], facts = ["m in [1, inf]"]} {
  kernel.parallel (a: task m) {
    %0 = kernel.load %i[a] : i64
    %1 = kernel.index {value = n} : i64
    %2 = kernel.compare %0, %1 {predicate = lt} : bool
    kernel.check %2 values(%0, %1) {message = "first"}
    kernel.let (r: given n) %0 {
      kernel.for (u: unroll 2) {
        %3 = kernel.load %i[max(a - u, 0)] : i64
        %4 = kernel.constant {value = 3, type = i64} : i64
        %5 = kernel.compare %3, %4 {predicate = lt} : bool
        kernel.check %5 values(%3) {message = "second"}
        kernel.let (c: given 3) %3 {
          kernel.for (v: sequential 2) {
            %6 = kernel.load %x[r, max(c - v, 0)] : f32
            kernel.store %6, %y[a, u, v]
          }
        }
      }
    }
  }
}
"""


def function(text: str) -> KernelFunc:
    module = parse_module(text)
    verify(module)
    return next(module.functions(KernelFunc))


def test_as_the_interpreter(toolchain: Any) -> None:
    f = function(TEXT)
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    i = np.array([0, 2, 1, 1, 0, 2])
    expected = run_kernel(f, [x, i], {}).outputs
    for found, wanted in zip(toolchain.compile([f]).run("f", [x, i]), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("i", "site"), [([0, 1, 5], 1), ([0, 4, 1], 2), ([9, 4], 1), ([1, 2], 0)])
def test_sites(toolchain: Any, i: list[int], site: int) -> None:
    f = function(TEXT)
    assert list(check_sites(f).values()) == [1, 2]
    assert scratch_bytes(f) == 16
    compiled = toolchain.compile([f])
    y = np.zeros((len(i), 2, 2), np.float32)
    buffers = [np.ones((5, 3), np.float32), np.array(i), y]
    assert compiled.call(compiled.image.entries["f"], buffers, [len(i), 5], 16, (0, len(i))) == site


def test_alike_values_of_a_tile_are_computed_once() -> None:
    text = """
    kernel.func @f(%x: buffer<f32[4]>, %w: buffer<i8[8]>, %y: buffer<f32[4, 8]>) {outputs = 1} {
      kernel.for (u: unroll 4) {
        %0 = kernel.load %w[0] {lanes = 8} : vector<8xi8>
        %1 = kernel.cast %0 {dtype = f32} : vector<8xf32>
        %2 = kernel.load %x[u] : f32
        %3 = kernel.broadcast %2 {lanes = 8} : vector<8xf32>
        %4 = kernel.mul %1, %3 : vector<8xf32>
        kernel.store %4, %y[u, 0]
      }
    }
    """
    emitted = emit_module([function(text)], find_target("x86-64-v3")[1].presets["x86-64-v3"])
    assert emitted.count("sitofp") == 1
    assert emitted.count("fmul") == 4
