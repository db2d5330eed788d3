"""The graph interpreter: references in order, dims bound and checked."""

from typing import Any

import numpy as np
import pytest

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Region
from headrace.ir.errors import ExecutionError
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.reshape_dynamic import ReshapeDynamic
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.text import parse_module
from headrace.ir.types import F32, I64, TensorType
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]

DENSE = """
graph.func @main(%x: f32[n, 3], %w: f32[3, 2]) {
  %b = graph.constant {value = dense<[0.5, -0.5]> : f32[2]} : f32[2]
  %y = graph.cluster inputs(%x, %w, %b) {
  ^(%0: f32[n, 3], %1: f32[3, 2], %2: f32[2]):
    %3 = graph.matmul %0, %1 : f32[n, 2]
    %4 = graph.add %3, %2 : f32[n, 2]
    graph.yield %4
  } : f32[n, 2]
  %z = graph.relu %y : f32[n, 2]
  graph.return %z, %y
}
"""


def parse(text: str) -> Module:
    module = parse_module(text)
    verify(module)
    return module


def main(module: Module) -> GraphFunc:
    function = module.function("main")
    assert isinstance(function, GraphFunc)
    return function


def floats(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def test_clusters_constants_and_several_results() -> None:
    x, w = floats(4, 3), floats(3, 2)
    z, y = run_graph(main(parse(DENSE)), [x, w])
    expected = x @ w + np.array([0.5, -0.5], np.float32)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(z, np.maximum(expected, 0), rtol=1e-6)


def test_a_wide_run_computes_in_float64() -> None:
    x, w = floats(4, 3), floats(3, 2)
    _, y = run_graph(main(parse(DENSE)), [x, w], wide=True)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, x.astype(np.float64) @ w + [0.5, -0.5], rtol=1e-15)


def test_one_symbol_has_one_value() -> None:
    text = "graph.func @main(%a: f32[n], %b: f32[n]) { %c = graph.add %a, %b : f32[n]  graph.return %c }"
    with pytest.raises(ExecutionError, match=r"@main: input 1 has shape \[4\], expected f32\[n\] with n = 3"):
        run_graph(main(parse(text)), [floats(3), floats(4)])


def test_symbols_that_only_formulas_or_facts_give() -> None:
    text = """graph.func @main(%a: f32[2*n + 1], %b: f32[m]) {facts = ["m == n + 1"]} {
      %c = graph.relu %b : f32[m]
      graph.return %c
    }"""
    assert run_graph(main(parse(text)), [floats(7), floats(4)])[0].shape == (4,)
    with pytest.raises(ExecutionError, match=r"input 0 has shape \[8\], expected f32\[n\*2 \+ 1\]|no value for symbol"):
        run_graph(main(parse(text)), [floats(8), floats(4)])


def test_a_result_of_another_shape_than_its_type_is_an_error_of_inference() -> None:
    module = parse("""graph.func @main(%a: f32[n, 2]) {
      %c = graph.transpose %a {perm = [1, 0]} : f32[2, n]
      graph.return %c
    }""")
    operation = next(o for o in module.walk() if isinstance(o, Transpose))
    operation.results[0].type = TensorType.of(F32, "n + 1")
    wrong = r"graph.transpose: the result has shape \[2, 3\], expected f32\[n \+ 1\] with n = 3"
    with pytest.raises(ExecutionError, match=wrong):
        run_graph(main(module), [floats(3, 2)])


def test_dims_that_are_data_are_bound_and_checked() -> None:
    block = Block([TensorType.of(F32, "n", 6), TensorType.of(I64, 2)])
    builder = Builder(block)
    reshaped = builder.add(ReshapeDynamic(*block.arguments, ("d0", "d1")))
    builder.add(Return((reshaped.result,)))
    function = GraphFunc(SymbolRef("main"), Region(block))
    module = Module(Region())
    Builder(module.block).add(function)
    x = floats(2, 6)
    assert np.array_equal(run_graph(function, [x, np.array([3, 4])])[0], x.reshape(3, 4))
    with pytest.raises(ExecutionError, match=r"graph.reshape_dynamic: the shape does not have the elements of"):
        run_graph(function, [x, np.array([3, 5])])
    with pytest.raises(ExecutionError, match=r"d1 is -7, expected at least 0"):
        run_graph(function, [x, np.array([1, -7])])


def test_inputs_must_have_the_declared_elements() -> None:
    with pytest.raises(ExecutionError, match=r"@main: input 0 has elements float64, expected f32"):
        run_graph(main(parse(DENSE)), [floats(4, 3).astype(np.float64), floats(3, 2)])
    with pytest.raises(ExecutionError, match=r"@main: 1 inputs, expected 2"):
        run_graph(main(parse(DENSE)), [floats(4, 3)])
