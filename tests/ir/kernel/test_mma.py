"""kernel.mma: what it computes, for every kind of tile and element, and what it does not allow."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.ir.errors import KernelFault, VerifyError
from headrace.ir.kernel.interpret import KernelRun, run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module
from headrace.ir.verify import verify
from headrace.passes.kernel.count_work import CountWork

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)


def function_in(text: str) -> KernelFunc:
    module = parse_module(text)
    verify(module)
    return next(module.functions(KernelFunc))


def run(text: str, *inputs: Array, **options: Any) -> KernelRun:
    return run_kernel(function_in(text), inputs, **options)


def kernel(x: str, w: str, mma: str, result: str = "f32", more: str = "") -> str:
    """A product of 4 by 8 elements, added to the numbers of their columns."""
    return f"""
    kernel.func @f(%x: buffer<{x}>, %w: buffer<{w}>, %y: buffer<{result}[4, 8]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.map (a: parallel 4, b: parallel 8) writes(%y[a, b]) {{
        %0 = kernel.index {{value = b}} : i64
        %1 = kernel.cast %0 {{dtype = {result}}} : {result}
        kernel.yield %1
      }}
      kernel.mma (i: parallel 4, j: parallel 8, k: reduction 6) {mma}, %y[i, j] {more}
    }}
    """


PLAIN = kernel("f32[4, n]", "f32[n, 8]", "%x[i, k], %w[k, j]")


def expected(x: Array, w: Array) -> Array:
    return np.arange(8) + x.astype(np.float64) @ w.astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_products_of_floats_are_summed_up_in_f32(dtype: Any) -> None:
    name = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[np.dtype(dtype).name]
    x, w = (RNG.standard_normal(shape).astype(dtype) for shape in ((4, 6), (6, 8)))
    text = kernel(f"{name}[4, n]", f"{name}[n, 8]", "%x[i, k], %w[k, j]")
    found = run(text, x, w).outputs[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(x, w), rtol=1e-6, atol=1e-6)
    wide = run(text, x, w, wide=True).outputs[0]
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide, expected(x, w), rtol=1e-14, atol=1e-14)


def test_products_of_halves_are_exact() -> None:
    """257 * 255 is no number of f16."""
    x, w = np.full((4, 6), 257, np.float16), np.full((6, 8), 255, np.float16)
    text = kernel("f16[4, n]", "f16[n, 8]", "%x[i, k], %w[k, j]")
    np.testing.assert_array_equal(run(text, x, w).outputs[0], expected(x, w))


@pytest.mark.parametrize("names", [("i8", "i8"), ("u8", "u8"), ("i8", "u8"), ("u8", "i8")])
def test_products_of_bytes_are_summed_up_in_i32(names: tuple[str, str]) -> None:
    kinds = {"i8": np.int8, "u8": np.uint8}
    x, w = (RNG.integers(-128 if n == "i8" else 0, 127 if n == "i8" else 255, s, kinds[n], endpoint=True)
            for n, s in zip(names, ((4, 6), (6, 8)), strict=True))  # fmt: skip
    text = kernel(f"{names[0]}[4, n]", f"{names[1]}[n, 8]", "%x[i, k], %w[k, j]", "i32")
    np.testing.assert_array_equal(run(text, x, w).outputs[0], expected(x, w))


def test_sums_of_integers_wrap() -> None:
    text = kernel("u8[4, n]", "u8[n, 8]", "%x[i, k], %w[k, j]", "i32").replace("value = b", "value = 2147483647")
    found = run(text, np.ones((4, 6), np.uint8), np.ones((6, 8), np.uint8)).outputs[0]
    assert (found == -(2**31) + 5).all()


def test_transposed_strided_and_repeated_tiles() -> None:
    x, w = (RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (8, 13)))
    text = kernel("f32[n, 8]", "f32[8, 13]", "%x[k, i*2 + 1], %w[j, 12 - k*2]")
    wanted = expected(x[:, 1::2].T, w[:, 12::-2][:, :6].T)
    np.testing.assert_allclose(run(text, x, w).outputs[0], wanted, rtol=1e-6, atol=1e-6)
    text = kernel("f32[n]", "f32[n, 8]", "%x[k], %w[k, j]")
    wanted = expected(np.tile(x[:, 0], (4, 1)), x)
    np.testing.assert_allclose(run(text, x[:, 0].copy(), x).outputs[0], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("terms", [1, 5, 6, 11])
def test_terms_that_do_not_exist(terms: int) -> None:
    """Neither those that `where` leaves out nor those outside of both tiles count."""
    x, w = (RNG.standard_normal(shape).astype(np.float32) for shape in ((4, terms), (terms, 8)))
    wanted = expected(x[:, :6], w[:6])
    text = kernel("f32[4, n]", "f32[n, 8]", "%x[i, k], %w[k, j]", more="{where = [n - 1 - k]}")
    np.testing.assert_allclose(run(text, x, w).outputs[0], wanted, rtol=1e-6, atol=1e-6)
    text = kernel("f32[4, n]", "f32[n, 8]", "%x[i, k] else 0.0, %w[k, j] else 0.0")
    np.testing.assert_allclose(run(text, x, w).outputs[0], wanted, rtol=1e-6, atol=1e-6)
    text = kernel("f32[4, n]", "f32[n, 8]", "%x[i, k] else 2.0, %w[k, j] else 1.0")
    more = 2.0 * max(6 - terms, 0)
    np.testing.assert_allclose(run(text, x, w).outputs[0], wanted + more, rtol=1e-6, atol=1e-6)


def test_faults() -> None:
    """Undefined elements, elements outside, and races, as for every other operation."""
    x, w = np.ones((4, 5), np.float32), np.ones((5, 8), np.float32)
    with pytest.raises(KernelFault, match=r"@f: kernel.mma .*: index 1 of %x is 5, expected 0 to 4; at .*k = 5"):
        run(PLAIN, x, w)
    undefined = PLAIN.replace("a: parallel 4", "a: parallel 3")
    with pytest.raises(KernelFault, match=r"kernel.mma .*: reads %y\[3, 0\], which nothing has written"):
        run(undefined, np.ones((4, 6), np.float32), np.ones((6, 8), np.float32))
    one_sum = PLAIN.replace("%y[i, j]", "%y[i, 0]")
    with pytest.raises(KernelFault, match=r"kernel.mma .*: race: writes %y\[0, 0\], which another lane"):
        run(one_sum, np.ones((4, 6), np.float32), np.ones((6, 8), np.float32))
    into_an_input = PLAIN.replace("%x[i, k], %w[k, j], %y[i, j]", "%y[i, k], %w[k, j], %x[i, j]")
    with pytest.raises(KernelFault, match=r"kernel.mma .*: writes %x, an input of the kernel"):
        run(into_an_input, np.ones((4, 8), np.float32), np.ones((8, 8), np.float32))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("i: parallel 4, j: parallel 8, k", "i: parallel 4, k", "axes are i: parallel, k: reduction; expected rows and columns, which are parallel, and a reduction"),
        ("i: parallel 4, j: parallel", "i: unroll 4, j: parallel", "axes are i: unroll, j: parallel, k: reduction; expected rows and columns, which are parallel, and a reduction"),
        ("k: reduction 6", "k: reduction n", "axis k has the extent n, expected a constant of 1 or more"),
        ("k: reduction 6", "k: reduction 0", "axis k has the extent 0, expected a constant of 1 or more"),
        ("%x[i, k], ", "%x[i], ", "lhs has 1 indices for buffer<f32[4, n]>"),
        ("%x[i, k], ", "%x[i, k + j], ", "lhs moves along j, expected i and k alone"),
        ("%w[k, j], ", "%w[k + i, j], ", "rhs moves along i, expected j and k alone"),
        ("%y[i, j]", "%y[i, j + k]", "into moves along k, expected i and j alone"),
        ("%x[i, k], ", "%x[i, k mod 3], ", "lhs does not move in steps along k: its index is k mod 3"),
        ("%x[i, k], ", "%x[i, i*k], ", "lhs does not move in steps along i: its index is i*k"),
        ("%w[k, j]", "%y[k, j]", "writes into what it multiplies, expected another buffer"),
        ("%y[i, j]", "%y[i, j] else 0.0", "'else' belongs to what is read only, but into is written"),
        ("%y[i, j] ", "%y[i, j] {where = [n - i]}", "where mentions i, but only terms of sums may be missing, not results"),
        ("%x: buffer<f32", "%x: buffer<f16", "multiplies f16 with f32, expected two of f32, f16 or bf16, or i8 and u8"),
        ("%w: buffer<f32", "%w: buffer<i8", "multiplies f32 with i8, expected two of f32, f16 or bf16, or i8 and u8"),
    ],
)  # fmt: skip
def test_it_is_verified(old: str, new: str, text: str) -> None:
    head, mma = PLAIN.split("kernel.mma")
    wrong = head.replace(old, new) + "kernel.mma" + mma.replace(old, new)
    assert wrong != PLAIN
    with pytest.raises(VerifyError) as raised:
        function_in(wrong)
    assert str(raised.value).endswith(f"kernel.mma: {text}")


def test_sums_have_their_type() -> None:
    with pytest.raises(VerifyError, match=r"kernel.mma: sums up products of f16 and f16 in f16, expected f32"):
        function_in(kernel("f16[4, n]", "f16[n, 8]", "%x[i, k], %w[k, j]", "f16"))


def test_an_operand_in_place_of_a_result_may_be_no_tile() -> None:
    """Other elements of it are read than the one that is written: one buffer for both would lose some."""
    text = kernel("f32[4, n]", "f32[4, 8]", "%x[i, k], %w[k, j]").replace("reduction 6", "reduction 4")
    function_in(text)
    with pytest.raises(VerifyError, match=r"kernel.mma: reads other elements of parameter 1 than it writes in its place"):
        function_in(text.replace("outputs = 1", "outputs = 1, in_place = [1, 2]"))


def test_its_work_is_counted() -> None:
    module = parse_module(kernel("f32[4, n]", "f32[n, 8]", "%x[i, k], %w[k, j]", more="{where = [n - 1 - k]}"))
    CountWork().run(module, Rewriter(), PassContext())
    operations, touched = next(module.functions(KernelFunc)).work
    assert operations == 2 * 4 * 8 * 6
    assert touched.evaluate({"n": 6}) == 4 * (4 * 6 + 6 * 8 + 4 * 8)
