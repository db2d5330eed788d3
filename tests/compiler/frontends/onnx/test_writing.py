"""Graphs written as ONNX models and imported again compute the same; what ONNX has no form for is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_graphs.graphs import random_graph

from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import read_model
from headrace.compiler.frontends.onnx.writing import export_model
from headrace.ir.graph.exporting import NotInOnnx
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.text.parser import parse_module


def test_written_and_read_again(tmp_path: Path) -> None:
    written = 0
    for seed in range(120):
        graph = random_graph(seed)
        try:
            model = export_model(graph.module)
        except NotInOnnx:
            continue
        written += 1
        (tmp_path / "m.onnx").write_bytes(model)
        main = _main(read_model(tmp_path / "m.onnx", None))
        for inputs in graph.cases:
            expected = run_graph(graph.main, list(inputs.values()))
            arrays = [inputs[n] for n in main.input_names]
            assert disagreement(graph.main, list(inputs.values()), run_graph(main, arrays), expected) is None, seed
    assert written >= 40


def test_formulas_become_nodes(tmp_path: Path) -> None:
    module = parse_module("""module {
        graph.func @main(%x: f32[n, m]) {input_names = ["x"], output_names = ["y"]} {
          %0 = graph.pad %x {before = [0, 0], after = [m, min(n, 3)]} : f32[m + n, m + min(n, 3)]
          %1 = graph.reshape %0 {dims = [(m + n)*(m + min(n, 3))]} : f32[(m + n)*(m + min(n, 3))]
          graph.return %1
        }
    }""")
    (tmp_path / "m.onnx").write_bytes(export_model(module))
    main = _main(read_model(tmp_path / "m.onnx", None))
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    expected = run_graph(next(module.functions(GraphFunc)), [x])
    np.testing.assert_array_equal(run_graph(main, [x])[0], expected[0])


def test_branches_are_graphs_within_a_node(tmp_path: Path) -> None:
    module = parse_module("""module {
        graph.func @main(%c: bool[1], %x: f32[n]) {facts = ["h in [0, 1]"], input_names = ["c", "x"], output_names = ["y"]} {
          %0 = graph.if %c captures(%x) {then = @then, otherwise = @other, symbol = "h", types = [f32[2*n - h*n]]} : f32[2*n - h*n]
          %1 = graph.reshape %0 {dims = [1, 2*n - h*n]} : f32[1, 2*n - h*n]
          graph.return %1
        }
        graph.func @then(%x: f32[n]) {facts = ["h in [0, 1]"], output_names = ["y"], private = true} {
          %0 = graph.relu %x : f32[n]
          graph.return %0
        }
        graph.func @other(%x: f32[n]) {facts = ["h in [0, 1]"], output_names = ["y"], private = true} {
          %0 = graph.concat %x, %x {axis = 0} : f32[2*n]
          graph.return %0
        }
    }""")
    (tmp_path / "m.onnx").write_bytes(export_model(module))
    main = _main(read_model(tmp_path / "m.onnx", None))
    x = np.array([-1, 2, -3], np.float32)
    for holds in (True, False):
        (found,) = run_graph(main, [np.array([holds]), x])
        np.testing.assert_array_equal(found, [np.maximum(x, 0) if holds else np.concatenate([x, x])])


def _main(module: Module) -> GraphFunc:
    return next(f for f in module.functions(GraphFunc) if not f.private)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = graph.diagonal %x {axes = [0, 1]} : f32[3]", "graph.diagonal has no form in ONNX"),
        (
            "%0 = graph.softmax %x {axes = [0, 1]} : f32[3, 3]",
            "graph.softmax: several axes, where ONNX has one",
        ),
    ],
)
def test_what_onnx_has_no_form_for(body: str, message: str) -> None:
    head = 'graph.func @main(%x: f32[3, 3]) {input_names = ["x"], output_names = ["y"]}'
    module = parse_module(f"module {{\n{head} {{\n{body}\ngraph.return %0\n}}\n}}")
    with pytest.raises(NotInOnnx) as error:
        export_model(module)
    assert str(error.value) == message
