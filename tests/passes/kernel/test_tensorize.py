"""kernel.tensorize and kernel.expand-mma: nothing changes on the way to a matrix unit and back; what is no product."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiled_products import AXIS, COLUMNS, TYPES, Product, passed

from headrace.ir.core import walk
from headrace.ir.errors import PassError
from headrace.ir.facts import MatrixTile, TargetFacts
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.text import parse_module, print_op
from headrace.ir.types import BF16, F16, F32
from headrace.targets import find_target

TENSORIZE = f"kernel.tensorize{{func=f axis={AXIS}}}"
PRODUCTS = st.builds(
    lambda types, transposed, tile, threads, copies, padded: Product(
        *types, transposed, tile, threads or copies > 0, copies > 0, copies > 1, padded
    ),
    st.sampled_from(TYPES),
    st.tuples(st.booleans(), st.booleans()),
    st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(1, 7)),
    st.booleans(),
    st.integers(0, 2),
    st.booleans(),
)


def only(module: Module) -> KernelFunc:
    return next(module.functions(KernelFunc))


def mma_of(module: Module) -> Mma:
    (found,) = walk(only(module), Mma)
    return found


@settings(max_examples=20)
@given(PRODUCTS, st.integers(1, 9), st.integers(0, 15))
def test_nothing_changes(product: Product, m: int, n: int) -> None:
    """Sizes that no tile divides, too: behind each step the same bits."""
    inputs = product.inputs(m, n)
    tiled = product.tiled()
    expected = run_kernel(only(tiled), inputs, {"m": m, "n": n}).outputs[0]
    lhs, rhs = (a.T if t else a for a, t in zip(inputs, product.transposed, strict=True))
    np.testing.assert_array_equal(expected, lhs.astype(np.float64) @ rhs.astype(np.float64))
    for step in (TENSORIZE, "kernel.expand-mma", "kernel.realize"):
        passed(tiled, step)
        assert any(True for _ in walk(only(tiled), Mma)) == (step == TENSORIZE)
        found = run_kernel(only(tiled), inputs, {"m": m, "n": n}).outputs[0]
        np.testing.assert_array_equal(found, expected)


def facts(*tiles: MatrixTile) -> PassContext:
    preset, target = find_target("x86-64-v3")
    known: TargetFacts = target.presets[preset]
    return PassContext(replace(known, matrix_tiles=tiles))


WHOLE = MatrixTile(4, 3, 6, F16, F16, F32)
LARGER = MatrixTile(16, 16, 16, F16, F16, F32, smaller=True)
HALVES = Product("f16", "f16", "f32")


def test_the_unit_takes_it() -> None:
    """A tile as it is, or what fits into one; padded, all of them are whole, also behind copies."""
    copied = replace(HALVES, threads=True, staged=True, doubled=True, padded=True)
    for product, unit in ((replace(HALVES, padded=True), WHOLE), (copied, WHOLE), (HALVES, LARGER)):
        module = passed(product.tiled(), TENSORIZE, facts(replace(WHOLE, lhs=BF16, rhs=BF16), unit))
        assert [a.extent.value for a in mma_of(module).axes] == [4, 3, 6]
        assert bool(mma_of(module).where) == (unit is LARGER)


@pytest.mark.parametrize(
    ("units", "text"),
    [
        ((), "a tile of 4 by 3 by 6 of f16 * f16 in f32; expected one that the target's facts list: none"),
        ((replace(WHOLE, m=8), replace(LARGER, k=5)), "a tile of 4 by 3 by 6 of f16 * f16 in f32; expected one that the target's facts list: 8 by 3 by 6 of f16 * f16 in f32; 16 by 16 by 5 or less of f16 * f16 in f32"),
        ((replace(LARGER, lhs=BF16, rhs=BF16),), "a tile of 4 by 3 by 6 of f16 * f16 in f32; expected one that the target's facts list: 16 by 16 by 16 or less of bf16 * bf16 in f32"),
        ((WHOLE,), "only terms with -k_i - k_o*6 + n - 1 >= 0 exist, but the target's unit takes whole tiles; kernel.pad-reduction makes them whole before they are staged"),
    ],
)  # fmt: skip
def test_the_unit_does_not(units: tuple[MatrixTile, ...], text: str) -> None:
    with pytest.raises(PassError) as raised:
        passed(HALVES.tiled(), TENSORIZE, facts(*units))
    assert str(raised.value) == f"kernel.tensorize: {text}"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("kernel.muladd %a, %b, %acc", "kernel.fma %a, %b, %acc", "kernel.map at unknown does something else than to add products to what it writes"),
        ("kernel.muladd %a, %b, %acc_1", "kernel.muladd %a, %acc_1, %b", "kernel.map at unknown does something else than to add products to what it writes"),
        ("kernel.muladd %a, %b, %acc_1", "kernel.muladd %acc_1, %b, %acc_1", "kernel.map at unknown does something else than to add products to what it writes"),
        ("reads(%x[i_i + i_o*4, k_i + k_o*6] else 0.0", "reads(%acc[0, 1]", "kernel.map at unknown does something else than to add products to what it writes"),
        ("%acc[i_i, j_i]) writes", "%acc[j_i, i_i]) writes", "kernel.map at unknown does something else than to add products to what it writes"),
        ("%w[k_i + k_o*6, j_i + j_o*3]", "%w[k_i + k_o*6, i_i + j_o*3]", "kernel.map at unknown is no product of matrices: both factors move along one of its sides"),
        ("%w[k_i + k_o*6, j_i", "%w[(k_i + k_o) floordiv 2, j_i", "kernel.mma: rhs does not move in steps along k_i: its index is (k_i + k_o) floordiv 2"),
        ("-k_i - k_o*6 + n - 1", "-k_i - i_i - k_o*6 + n - 1", "kernel.mma: where mentions i_i, but only terms of sums may be missing, not results"),
        ("(k_i: sequential", "(l: sequential 1, k_i: sequential", "kernel.map at unknown has the axes l: sequential 1, k_i: sequential 6, i_i: unroll 4, j_i: unroll 3; expected one in order, and rows and columns besides"),
        ("(k_i: sequential", "(l: unroll 1, k_i: sequential", "kernel.map at unknown has the axes l: unroll 1, k_i: sequential 6, i_i: unroll 4, j_i: unroll 3; expected one in order, and rows and columns besides"),
    ],
)  # fmt: skip
def test_it_is_no_product_of_tiles(old: str, new: str, text: str) -> None:
    tiled = print_op(Product().tiled())
    assert old in tiled, tiled
    with pytest.raises(PassError) as raised:
        passed(parse_module(tiled.replace(old, new)), TENSORIZE)
    assert str(raised.value) == f"kernel.tensorize: {text}"


def test_only_maps() -> None:
    with pytest.raises(PassError, match=r"kernel.tensorize: k is an axis of kernel.reduce, expected kernel.map"):
        passed(Product().structured(), "kernel.tensorize{func=f axis=k}")


def test_a_schedule_does_not_cut_it() -> None:
    """Its axes are the unit's."""
    module = passed(Product().tiled(), TENSORIZE)
    with pytest.raises(PassError, match=rf"@f has no axis '{AXIS}'"):
        passed(module, f"kernel.tile{{func=f axis={AXIS} by=2}}")
    assert COLUMNS % mma_of(module).axes[1].extent.value


def test_a_factor_from_around_the_map() -> None:
    """A number for all rows, which the loop around has loaded, fills a tile."""
    text = """
    kernel.func @f(%x: buffer<f32[2]>, %w: buffer<f32[6, 8]>, %y: buffer<f32[4, 8]>) {outputs = 1} {
      kernel.map (a: parallel 4, b: parallel 8) writes(%y[a, b]) {
        %z = kernel.constant {value = 1.0, type = f32} : f32
        kernel.yield %z
      }
      kernel.for (t: sequential 2) {
        %s = kernel.load %x[t] : f32
        kernel.map (k: sequential 6, i: parallel 4, j: parallel 8) reads(%w[k, j], %y[i, j]) writes(%y[i, j]) {
        ^(%a: f32, %b: f32):
          %p = kernel.muladd %a, %s, %b : f32
          kernel.yield %p
        }
      }
    }
    """
    inputs = [np.array([2, -1], np.float32), np.arange(48, dtype=np.float32).reshape(6, 8)]
    expected = run_kernel(only(parse_module(text)), inputs).outputs[0]
    found = passed(parse_module(text), "kernel.tensorize{func=f axis=k}")
    assert mma_of(found).lhs.value.hint == "factor"
    np.testing.assert_array_equal(run_kernel(only(found), inputs).outputs[0], expected)
