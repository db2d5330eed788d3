"""graph.canonicalize: each rule does its work, and none changes a bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.passes.graph.canonicalize import Canonicalize
from headrace.passes.graph.dce import Dce

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -2.5, 3e38], np.float32)

# Body on %x: f32[8], then the operations that are left.
ON_FLOATS = [
    ("%c = graph.constant {value = dense<-0.0> : f32[]} : f32[]  %y = graph.add %x, %c : f32[8]", []),
    ("%c = graph.constant {value = dense<-0.0> : f32[]} : f32[]  %y = graph.add %c, %x : f32[8]", []),
    ("%c = graph.constant {value = dense<0.0> : f32[]} : f32[]  %y = graph.add %x, %c : f32[8]", ["add"]),
    ("%c = graph.constant {value = dense<0.0> : f32[]} : f32[]  %y = graph.sub %x, %c : f32[8]", []),
    ("%c = graph.constant {value = dense<-0.0> : f32[]} : f32[]  %y = graph.sub %x, %c : f32[8]", ["sub"]),
    ("%c = graph.constant {value = dense<[1.0]> : f32[1]} : f32[1]  %y = graph.mul %x, %c : f32[8]", []),
    ("%c = graph.constant {value = dense<0.0> : f32[]} : f32[]  %y = graph.mul %x, %c : f32[8]", ["mul"]),
    ("%c = graph.constant {value = dense<1.0> : f32[]} : f32[]  %y = graph.div %x, %c : f32[8]", []),
    ("%c = graph.constant {value = dense<-inf> : f32[]} : f32[]  %y = graph.max %x, %c : f32[8]", []),
    ("%c = graph.constant {value = dense<inf> : f32[]} : f32[]  %y = graph.min %c, %x : f32[8]", []),
    ("%a = graph.neg %x : f32[8]  %y = graph.neg %a : f32[8]", []),
    ("%a = graph.relu %x : f32[8]  %y = graph.relu %a : f32[8]", ["relu"]),
    (
        "%c = graph.constant {value = dense<0.5> : f32[]} : f32[]"
        "  %a = graph.max %x, %c : f32[8]  %y = graph.relu %a : f32[8]",
        ["max"],
    ),
    (
        "%c = graph.constant {value = dense<-0.5> : f32[]} : f32[]"
        "  %a = graph.max %x, %c : f32[8]  %y = graph.relu %a : f32[8]",
        ["max", "relu"],
    ),
    ("%a = graph.cast %x {dtype = f64} : f64[8]  %y = graph.cast %a {dtype = f32} : f32[8]", []),
    ("%a = graph.cast %x {dtype = f64} : f64[8]  %y = graph.cast %a {dtype = i8} : i8[8]", ["cast"]),
    ("%a = graph.cast %x {dtype = f16} : f16[8]  %y = graph.cast %a {dtype = f32} : f32[8]", ["cast", "cast"]),
    ("%a = graph.cast %x {dtype = i64} : i64[8]  %y = graph.cast %a {dtype = i8} : i8[8]", ["cast", "cast"]),
    ("%a = graph.reshape %x {dims = [2, 4]} : f32[2, 4]  %y = graph.reshape %a {dims = [8]} : f32[8]", []),
    (
        "%a = graph.slice %x {starts = [1], sizes = [4], steps = [2]} : f32[4]"
        "  %y = graph.slice %a {starts = [3], sizes = [2], steps = [-2]} : f32[2]",
        ["slice"],
    ),
    (
        "%a = graph.pad %x {before = [1], after = [0]} : f32[9]"
        "  %y = graph.pad %a {before = [0], after = [2]} : f32[11]",
        ["pad"],
    ),
    (
        "%a = graph.pad %x {before = [1], after = [0], value = 1.0} : f32[9]"
        "  %y = graph.pad %a {before = [0], after = [2]} : f32[11]",
        ["pad", "pad"],
    ),
    (
        "%a = graph.concat %x, %x {axis = 0} : f32[16]  %y = graph.concat %a, %x {axis = 0} : f32[24]",
        ["concat"],
    ),
    (
        "%a = graph.slice %x {starts = [0], sizes = [3], steps = [1]} : f32[3]"
        "  %b = graph.slice %x {starts = [3], sizes = [5], steps = [1]} : f32[5]"
        "  %y = graph.concat %a, %b, %a, %a, %b {axis = 0} : f32[19]",
        ["slice", "concat"],
    ),
    (
        "%a = graph.slice %x {starts = [0], sizes = [4], steps = [1]} : f32[4]"
        "  %b = graph.slice %x {starts = [3], sizes = [4], steps = [1]} : f32[4]"
        "  %y = graph.concat %b, %a {axis = 0} : f32[8]",
        ["slice", "slice", "concat"],
    ),
]


@pytest.mark.parametrize(("body", "left"), ON_FLOATS)
def test_rule(bench: Callable[[str], Bench], body: str, left: list[str]) -> None:
    subject = bench("(%x: f32[8]) {\n" + body.replace("  %", "\n%") + "\ngraph.return %y\n}")
    before = subject.evaluate([SPECIAL], {})
    subject.run(Canonicalize(), Dce())
    assert subject.names() == left
    for old, new in zip(before, subject.evaluate([SPECIAL], {}), strict=True):
        assert old.dtype == new.dtype
        assert old.tobytes() == new.tobytes()


def test_a_rule_keeps_the_type(bench: Callable[[str], Bench]) -> None:
    """x * 1 broadcasts x to another rank, so the multiplication has to stay."""
    text = "(%x: f32[8]) {\n%c = graph.constant {value = dense<[[1.0]]> : f32[1, 1]} : f32[1, 1]\n"
    subject = bench(text + "%y = graph.mul %x, %c : f32[1, 8]\ngraph.return %y\n}")
    assert not subject.run(Canonicalize())


def test_transposes_meet(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 2, 3]) {
        %a = graph.transpose %x {perm = [1, 2, 0]} : f32[2, 3, n]
        %b = graph.transpose %a {perm = [1, 2, 0]} : f32[3, n, 2]
        graph.return %b
        }"""
    )
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    before = subject.evaluate([x], {"n": 4})
    subject.run(Canonicalize(), Dce())
    assert subject.names() == ["transpose"]
    np.testing.assert_array_equal(subject.evaluate([x], {"n": 4})[0], before[0])


def test_moving_a_dim_of_one_is_a_reshape(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 1, 3]) {
        %a = graph.transpose %x {perm = [0, 2, 1]} : f32[n, 3, 1]
        graph.return %a
        }"""
    )
    subject.run(Canonicalize())
    assert subject.names() == ["reshape"]


def test_padding_goes_into_the_convolution(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 2, 6], %w: f32[4, 2, 3]) {
        %a = graph.pad %x {before = [0, 0, 1], after = [0, 0, 2]} : f32[n, 2, 9]
        %b = graph.conv %a, %w {strides = [2], dilations = [1], before = [1], after = [0]} : f32[n, 4, 4]
        graph.return %b
        }"""
    )
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(np.float32) for s in ((3, 2, 6), (4, 2, 3))]
    before = subject.evaluate(arrays, {"n": 3})
    subject.run(Canonicalize(), Dce())
    assert subject.names() == ["conv"]
    np.testing.assert_array_equal(subject.evaluate(arrays, {"n": 3})[0], before[0])


def test_what_has_no_rule_stays(bench: Callable[[str], Bench]) -> None:
    subject = bench("(%x: f32[8]) {\n%y = graph.exp %x : f32[8]\ngraph.return %y\n}")
    assert not subject.run(Canonicalize())
