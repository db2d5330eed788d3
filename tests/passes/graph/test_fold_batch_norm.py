"""graph.fold-batch-norm: what is folded gives the same numbers, and what is refused stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.ir.graph.ops.constant import Constant
from headrace.ir.rewrite import Builder, Rewriter
from headrace.passes.graph.dce import Dce
from headrace.passes.graph.decompose import Decompose
from headrace.passes.graph.fold_batch_norm import FoldBatchNorm
from headrace.passes.graph.fold_constants import FoldConstants

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

WINDOW = "strides = [1], dilations = [1], before = [1], after = [1]"
TWO = "%t = graph.constant {value = dense<[[2.0], [-3.0]]> : f32[2, 1]} : f32[2, 1]"
COLUMNS = "%t = graph.constant {value = dense<[2.0, -3.0]> : f32[2]} : f32[2]"
ONE = "%o = graph.constant {value = dense<0.5> : f32[]} : f32[]"
KERNEL = """%w = graph.constant {value = dense<[[[1.0, 2.0, -1.0]], [[0.5, 1.0, 3.0]]]> : f32[2, 1, 3]} : f32[2, 1, 3]
            %v = graph.constant {value = dense<[1.5, -2.5]> : f32[2]} : f32[2]"""
MATRIX = "%m = graph.constant {value = dense<[[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]]> : f32[3, 2]} : f32[3, 2]"

FOLDED = {
    "a factor": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n %1 = graph.mul %0, %t : f32[n, 2, 6]",
    "a factor, with a bias": f"%0 = graph.conv %x, %w b(%v) {{{WINDOW}}} : f32[n, 2, 6]\n"
    "%1 = graph.mul %t, %0 : f32[n, 2, 6]",
    "an addend": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n %1 = graph.add %0, %t : f32[n, 2, 6]",
    "one addend for all": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n %1 = graph.add %0, %o : f32[n, 2, 6]",
    "an addend, with a bias": f"%0 = graph.conv %x, %w b(%v) {{{WINDOW}}} : f32[n, 2, 6]\n"
    "%1 = graph.add %t, %0 : f32[n, 2, 6]",
    "groups": f"%a = graph.concat %x, %x {{axis = 1}} : f32[n, 2, 6]\n"
    f"%0 = graph.conv %a, %w {{{WINDOW}, groups = 2}} : f32[n, 2, 6]\n %1 = graph.mul %0, %t : f32[n, 2, 6]",
    "many": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n %2 = graph.add %0, %t : f32[n, 2, 6]\n"
    "%3 = graph.mul %2, %o : f32[n, 2, 6]\n %4 = graph.mul %3, %t : f32[n, 2, 6]\n"
    "%1 = graph.add %4, %o : f32[n, 2, 6]",
}


def _conv(body: str) -> str:
    return f"(%x: f32[n, 1, 6]) {{\n{KERNEL}\n{TWO}\n{ONE}\n{body}\ngraph.return %1\n}}"


@pytest.mark.parametrize("case", FOLDED)
def test_a_convolution_takes(bench: Callable[[str], Bench], case: str) -> None:
    subject = bench(_conv(FOLDED[case]))
    x = np.random.default_rng(0).normal(size=(3, 1, 6)).astype(np.float32)
    before = subject.evaluate([x], {})
    assert subject.run(FoldBatchNorm())
    subject.run(FoldConstants(), Dce())
    assert [n for n in subject.names() if n != "concat"] == ["conv"]
    np.testing.assert_allclose(subject.evaluate([x], {})[0], before[0], rtol=1e-5, atol=1e-5)


def test_a_product_takes_factors_through_its_bias(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        f"""(%x: f32[n, 3]) {{
        {MATRIX}
        {COLUMNS}
        %0 = graph.matmul %x, %m : f32[n, 2]
        %1 = graph.add %0, %t : f32[n, 2]
        %2 = graph.mul %1, %t : f32[n, 2]
        graph.return %2
        }}"""
    )
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    before = subject.evaluate([x], {})
    assert subject.run(FoldBatchNorm())
    subject.run(FoldConstants())
    assert subject.names() == ["matmul", "add"]
    np.testing.assert_allclose(subject.evaluate([x], {})[0], before[0], rtol=1e-5, atol=1e-5)


def test_a_batch_norm_goes_into_the_convolution(bench: Callable[[str], Bench]) -> None:
    text = f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n"
    text += "%p = graph.constant {value = dense<[0.5, 2.0]> : f32[2]} : f32[2]\n"
    subject = bench(_conv(text + "%1 = graph.batch_norm %0, %v, %v, %v, %p {epsilon = 0.001} : f32[n, 2, 6]"))
    x = np.random.default_rng(0).normal(size=(3, 1, 6)).astype(np.float32)
    before = subject.evaluate([x], {})
    subject.run(Decompose(), FoldConstants(), FoldBatchNorm(), FoldConstants(), Dce())
    assert subject.names() == ["conv"]
    np.testing.assert_allclose(subject.evaluate([x], {})[0], before[0], rtol=1e-5, atol=1e-5)


REFUSED = {
    "another user": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n %2 = graph.mul %0, %t : f32[n, 2, 6]\n"
    "%1 = graph.add %0, %2 : f32[n, 2, 6]",
    "a factor that is no constant": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n"
    "%1 = graph.mul %0, %x : f32[n, 2, 6]",
    "numbers within a channel": f"%0 = graph.conv %x, %w {{{WINDOW}}} : f32[n, 2, 6]\n"
    "%s = graph.constant {value = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : f32[6]} : f32[6]\n"
    "%1 = graph.mul %0, %s : f32[n, 2, 6]",
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(bench: Callable[[str], Bench], case: str) -> None:
    subject = bench(_conv(REFUSED[case]))
    assert not subject.run(FoldBatchNorm())


def test_strict_numerics_refuse(bench: Callable[[str], Bench]) -> None:
    subject = bench(_conv(FOLDED["a factor"]))
    assert not subject.run(FoldBatchNorm(), strict=True)


def test_a_large_weight_stays_code(bench: Callable[[str], Bench]) -> None:
    """The scaled weight is not stored: it is computed when the artefact is written."""
    window = "strides = [1], dilations = [1], before = [20000], after = [19999]"
    subject = bench(
        f"""(%x: f32[n, 1, 6], %w: f32[2, 1, 40000]) {{
        {TWO}
        %0 = graph.conv %x, %w {{{window}}} : f32[n, 2, 6]
        %1 = graph.mul %0, %t : f32[n, 2, 6]
        graph.return %1
        }}"""
    )
    body = subject.main.block.operations
    weight = Constant(subject.module.constants.add(np.ones((2, 1, 40000), np.float32)))
    Builder(subject.main.block, body[0]).add(weight)
    Rewriter().replace_uses(subject.main.parameters[1], weight.result)
    assert subject.run(FoldBatchNorm())
    subject.run(FoldConstants())
    assert subject.names() == ["mul", "conv"]
