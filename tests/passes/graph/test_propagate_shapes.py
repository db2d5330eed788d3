"""graph.propagate-shapes: integers that follow from the dims, and what they settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from headrace.ir.graph.ops.formulas import Formulas
from headrace.passes.graph.dce import Dce
from headrace.passes.graph.propagate_shapes import PropagateShapes

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench


def test_a_chain_becomes_formulas(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 3, h]) {facts = ["h mod 2 == 0"]} {
        %0 = graph.formulas {values = [n, 3, h], dims = [3]} : i64[3]
        %1 = graph.constant {value = dense<[1, 1, 2]> : i64[3]} : i64[3]
        %2 = graph.div %0, %1 : i64[3]
        %3 = graph.cast %2 {dtype = i32} : i32[3]
        graph.return %3
        }"""
    )
    x = np.zeros((2, 3, 8), np.float32)
    before = subject.evaluate([x], {})
    subject.run(PropagateShapes(), Dce())
    (left,) = subject.main.block.body
    assert isinstance(left, Formulas)
    assert [str(v) for v in left.values] == ["n", "3", "h floordiv 2"]
    np.testing.assert_array_equal(subject.evaluate([x], {})[0], before[0])


def test_a_comparison_of_dims_becomes_a_constant(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n]) {
        %0 = graph.formulas {values = [n, n + 1], dims = [2]} : i64[2]
        %1 = graph.formulas {values = [n, n], dims = [2]} : i64[2]
        %2 = graph.compare %0, %1 {predicate = eq} : bool[2]
        graph.return %2
        }"""
    )
    subject.run(PropagateShapes(), Dce())
    assert subject.names() == []
    np.testing.assert_array_equal(subject.evaluate([np.zeros(3, np.float32)], {})[0], [True, False])


def test_numbers_wrap_as_their_type_does(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n]) {
        %0 = graph.constant {value = dense<[2000000000]> : i32[1]} : i32[1]
        %1 = graph.add %0, %0 : i32[1]
        graph.return %1
        }"""
    )
    subject.run(PropagateShapes(), Dce())
    np.testing.assert_array_equal(subject.evaluate([np.zeros(3, np.float32)], {})[0], [-294967296])


def test_settled_dims_reach_all_types_below(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 6]) {facts = ["d0 in [0, inf]", "d1 in [0, inf]", "n in [1, 8]"]} {
        %0 = graph.formulas {values = [n*2, 3], dims = [2]} : i64[2]
        %1 = graph.reshape_dynamic %x, %0 {symbols = ["d0", "d1"]} : f32[d0, d1]
        %2 = graph.relu %1 : f32[d0, d1]
        %3 = graph.slice %2 {starts = [0, 0], sizes = [d0, 2], steps = [1, 1]} : f32[d0, 2]
        graph.return %3
        }"""
    )
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    before = subject.evaluate([x], {})
    subject.run(PropagateShapes(), Dce())
    assert subject.names() == ["reshape", "relu", "slice"]
    assert str(subject.main.result_types[0]) == "f32[n*2, 2]"
    assert subject.main.facts == ("n in [1, 8]",)
    np.testing.assert_array_equal(subject.evaluate([x], {})[0], before[0])


def test_data_stays_data(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 6], %s: i64[2]) {facts = ["d0 in [0, inf]", "d1 in [0, inf]"]} {
        %1 = graph.reshape_dynamic %x, %s {symbols = ["d0", "d1"]} : f32[d0, d1]
        graph.return %1
        }"""
    )
    assert not subject.run(PropagateShapes())


def test_formulas_in_attributes_become_simple(bench: Callable[[str], Bench]) -> None:
    subject = bench(
        """(%x: f32[n, 6]) {facts = ["n in [4, inf]"]} {
        %1 = graph.slice %x {starts = [0, 0], sizes = [min(n, 2), 6], steps = [1, 1]} : f32[min(n, 2), 6]
        %2 = graph.relu %1 : f32[min(n, 2), 6]
        graph.return %2
        }"""
    )
    subject.run(PropagateShapes())
    assert str(subject.main.result_types[0]) == "f32[2, 6]"
