"""Whole models: names of dims, integers that are followed, functions, branches, locations, real networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from headrace.compiler.frontends.onnx import import_model
from headrace.ir.core import Value
from headrace.ir.errors import ExecutionError, UnsupportedModelError
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module

Array = np.ndarray[Any, Any]
Imported = Callable[..., Module]
Evaluate = Callable[[Module, dict[str, Array]], list[Array]]
F = TensorProto.FLOAT


def info(name: str, *dims: int | str | None, kind: int = F) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[str],
    constants: dict[str, Any] | None = None,
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    made = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, [onnx.ValueInfoProto(name=o) for o in outputs], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def main_of(module: Module) -> GraphFunc:
    function = module.function("main")
    assert isinstance(function, GraphFunc)
    return function


def dims_of(value: Value) -> list[str]:
    return [str(d) for d in tensor(value).dims]


def results_of(module: Module) -> list[list[str]]:
    return [dims_of(v) for v in main_of(module).block.terminator.operands]


def relu(*inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    nodes = [node("Relu", i.name, f"y{n}") for n, i in enumerate(inputs)]
    return model(nodes, list(inputs), [f"y{n}" for n in range(len(inputs))])


def test_names_of_dims(imported: Imported) -> None:
    inputs = [info("x", "batch", "a.b", "a_b", 3), info("z", "batch", "", None, 0), info("1st", -1, "lambda", "min")]
    assert results_of(imported(relu(*inputs))) == [
        ["batch", "a_b_1", "a_b", "3"],
        ["batch", "z_1", "z_2", "z_3"],
        ["d_1st_0", "d_lambda", "d_min"],
    ]


def test_a_name_without_a_letter_is_none(imported: Imported) -> None:
    """Paddle's exporter writes '?' for every dim that is open."""
    assert results_of(imported(relu(info("x", "?", 3, "?", "?")))) == [["x_0", "3", "x_2", "x_3"]]


def test_given_shapes_override(imported: Imported) -> None:
    module = imported(relu(info("x", 1, 3, "h", "w")), {"x": ["n", 3, None, 8]})
    assert results_of(module) == [["n", "3", "h", "8"]]


def test_a_given_shape_makes_a_rank(imported: Imported) -> None:
    unranked = helper.make_tensor_value_info("x", F, None)
    assert results_of(imported(relu(unranked), {"x": ["n", 4, None]})) == [["n", "4", "x_2"]]


def test_declared_outputs_are_not_believed(imported: Imported) -> None:
    wrong = relu(info("x", "n", 3))
    wrong.graph.output[0].CopyFrom(info("y0", 7, 7, kind=TensorProto.INT64))
    wrong.graph.value_info.append(info("y0", 9))
    assert results_of(imported(wrong)) == [["n", "3"]]


def test_initializers_that_are_inputs_too(imported: Imported, evaluate: Evaluate) -> None:
    """As all are in models of IR version 3."""
    old = model([node("Add", "x w", "y")], [info("x", 2), info("w", 2)], ["y"], {"w": np.array([1, 2], "f4")})
    old.ir_version = 3
    module = imported(old)
    assert main_of(module).input_names == ("x",)
    np.testing.assert_array_equal(evaluate(module, {"x": np.zeros(2, "f4")})[0], [1, 2])


def test_locations(imported: Imported) -> None:
    nodes = [node("Relu", "x", "a"), node("Gemm", "a w", "y", name="fc")]
    module = imported(model(nodes, [info("x", 2, 3)], ["y"], {"w": np.ones((3, 4), "f4")}))
    assert [o.location.nodes for o in main_of(module).block.body] == [("Relu_0",), ("fc",), ("fc",)]


def test_only_used_constants_are_kept(imported: Imported) -> None:
    module = imported(model([node("Relu", "x", "y")], [info("x", 2)], ["y"], {"unused": np.ones(4, "f4")}))
    assert not list(module.constants)


def test_integers_are_followed(imported: Imported, evaluate: Evaluate) -> None:
    """What exporters write for x.view(n, h * w // 2, -1)."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Slice", "s two four", "hw"),
        node("ReduceProd", "hw", "area", keepdims=0),
        node("Div", "area two0", "half"),
        node("Unsqueeze", "n ax", "n1"),
        node("Unsqueeze", "half ax", "half1"),
        node("Concat", "n1 half1 rest", "target", axis=0),
        node("Reshape", "x target", "y"),
    ]
    constants = {
        "zero": np.array(0), "two": np.array([2]), "four": np.array([4]), "two0": np.array(2), "ax": np.array([0]),
        "rest": np.array([-1]),
    }  # fmt: skip
    module = imported(model(nodes, [info("x", "n", 6, "h", 4)], ["y"], constants))
    assert results_of(module) == [["n", "h*2", "12"]]
    x = np.arange(3 * 6 * 5 * 4, dtype=np.float32).reshape(3, 6, 5, 4)
    np.testing.assert_array_equal(evaluate(module, {"x": x})[0], x.reshape(3, 10, 12))


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("Range", "zero n one", "y")], ["n"]),
        ([node("Unsqueeze", "n ax", "n1"), node("ConstantOfShape", "n1", "y")], ["n"]),
        ([node("Unsqueeze", "n ax", "n1"), node("Expand", "col n1", "y")], ["3", "n"]),
        (
            [
                node("Equal", "n n", "same"),
                node("Where", "same two n", "w"),
                node("Unsqueeze", "w ax", "w1"),
                node("ConstantOfShape", "w1", "y"),
            ],
            ["2"],
        ),
        (
            [
                node("Cast", "n", "c", to=TensorProto.INT32),
                node("Cast", "c", "d", to=TensorProto.INT64),
                node("Max", "d one", "m"),
                node("Unsqueeze", "m ax", "m1"),
                node("Squeeze", "m1", "m2"),
                node("Mul", "m2 two", "m3"),
                node("Unsqueeze", "m3 ax", "m4"),
                node("ConstantOfShape", "m4", "y"),
            ],
            ["max(1, n)*2"],
        ),
    ],
)
def test_shapes_from_integers(nodes: list[onnx.NodeProto], expected: list[str], imported: Imported) -> None:
    first = [node("Shape", "x", "s"), node("Gather", "s zero", "n")]
    constants = {
        "zero": np.array(0), "one": np.array(1), "two": np.array(2), "ax": np.array([0]), "col": np.ones((3, 1), "f4")
    }  # fmt: skip
    assert results_of(imported(model(first + nodes, [info("x", "n", 2)], ["y"], constants))) == [expected]


def test_a_shape_that_is_data(imported: Imported, evaluate: Evaluate) -> None:
    nodes = [node("Reshape", "x s", "y")]
    module = imported(model(nodes, [info("x", "a", "b"), info("s", 3, kind=TensorProto.INT64)], ["y"]))
    assert results_of(module) == [["Reshape_0_0", "Reshape_0_1", "Reshape_0_2"]]
    assert main_of(module).facts == tuple(f"Reshape_0_{i} in [0, inf]" for i in range(3))
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    for shape in ([2, -1, 4], [0, 3, 2], [0, -1, 1], [24, 1, 1]):
        (found,) = evaluate(module, {"x": x, "s": np.array(shape)})
        expected = x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)])
        np.testing.assert_array_equal(found, expected)


def test_functions_of_the_model(imported: Imported, evaluate: Evaluate) -> None:
    leaky = helper.make_node("LeakyRelu", ["p"], ["t"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    inner = helper.make_function(
        "f", "Twice", ["p", "q"], ["r"], [leaky, node("Add", "t q", "r")], [helper.make_opsetid("", 17)], ["slope"]
    )
    outer = helper.make_function(
        "f", "Four", ["p"], ["r"],
        [helper.make_node("Twice", ["p", "p"], ["m"], domain="f", slope=0.5),
         helper.make_node("Twice", ["m", "m"], ["r"], domain="f", slope=0.25)],
        [helper.make_opsetid("f", 1)],
    )  # fmt: skip
    call = helper.make_node("Four", ["x"], ["y"], "call", domain="f")
    whole = model([call], [info("x", "n")], ["y"], functions=[inner, outer])
    whole.opset_import.append(helper.make_opsetid("f", 1))
    module = imported(whole)
    assert {o.location.nodes for o in main_of(module).block.body} == {("call",)}
    x = np.array([1, -1], np.float32)
    np.testing.assert_allclose(evaluate(module, {"x": x})[0], [4, -1.875])


def test_functions_that_grow_without_end_are_refused(imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.compiler.frontends.onnx.model.MOST_WRITTEN_OUT", 1000)
    nodes = [helper.make_node("F0", ["x"], ["y"], "a", domain="f")]
    functions = [
        helper.make_function(
            "f", f"F{i}", ["p"], ["q"],
            [helper.make_node(f"F{i + 1}", ["p" if j == 0 else f"t{j - 1}"], ["q" if j == 7 else f"t{j}"], domain="f")
             for j in range(8)],
            [helper.make_opsetid("f", 1)],
        )
        for i in range(12)
    ]  # fmt: skip
    functions.append(
        helper.make_function("f", "F12", ["p"], ["q"], [node("Relu", "p", "q")], [helper.make_opsetid("", 17)])
    )
    whole = model(nodes, [info("x", 2)], ["y"], functions=functions)
    whole.opset_import.append(helper.make_opsetid("f", 1))
    with pytest.raises(
        UnsupportedModelError, match=r"^model\.onnx: functions and loops add more than 1000 nodes when written out"
    ):
        imported(whole)


def test_functions_of_few_nodes_that_are_many_operations_are_refused(
    imported: Imported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.compiler.frontends.onnx.model.MOST_WRITTEN_OUT", 1000)
    pads = [node("Pad", f"{a} pads", b) for a, b in zip("pabcdefg", "abcdefgq", strict=True)]
    inner = helper.make_function("f", "Inner", ["p", "pads"], ["q"], pads, [helper.make_opsetid("", 17)])
    calls = [
        helper.make_node("Inner", [a, "pads"], [b], domain="f") for a, b in zip("pabcdefg", "abcdefgq", strict=True)
    ]
    outer = helper.make_function("f", "Outer", ["p", "pads"], ["q"], calls, [helper.make_opsetid("f", 1)])
    inputs = [info("x", "a", "b", "c", "d"), info("pads", 8, kind=TensorProto.INT64)]
    whole = model(
        [helper.make_node("Outer", ["x", "pads"], ["y"], "a", domain="f")], inputs, ["y"], functions=[inner, outer]
    )
    whole.opset_import.append(helper.make_opsetid("f", 1))
    with pytest.raises(UnsupportedModelError, match="functions and loops add more than 1000 nodes when written out"):
        imported(whole)


def test_turns_without_nodes_are_counted(imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.compiler.frontends.onnx.model.MOST_WRITTEN_OUT", 1000)
    whole = parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[4] x) => (float[4] y) <int64 turns = {100}, bool yes = {1}> {
          y = Loop(turns, yes, x) <body = a (int64 i, bool on, float[4] s) => (bool on, float[4] t) {
            t = Loop(turns, yes, s) <body = b (int64 j, bool go, float[4] u) => (bool go, float[4] u) {}>
          }>
        }""")
    with pytest.raises(UnsupportedModelError, match="functions and loops add more than 1000 nodes"):
        imported(whole)


def test_a_branch_that_is_known(imported: Imported, evaluate: Evaluate) -> None:
    branches = {
        f"{name}_branch": helper.make_graph([node(op, "x", name)], name, [], [onnx.ValueInfoProto(name=name)])
        for name, op in (("then", "Exp"), ("else", "Neg"))
    }
    nodes = [
        node("Shape", "x", "s"),
        node("Size", "s", "rank"),
        node("Equal", "rank one", "c"),
        node("If", "c", "y", **branches),
    ]
    module = imported(model(nodes, [info("x", "n", 2)], ["y"], {"one": np.array(1)}))
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(evaluate(module, {"x": x})[0], -x)


@pytest.mark.parametrize("asked", [1, 0], ids=["squeezed dim", "another dim"])
def test_a_branch_that_squeezes(asked: int, imported: Imported, evaluate: Evaluate) -> None:
    """One rank is taken, but only where the condition asks for the very dim that is squeezed."""
    then = helper.make_graph([node("Squeeze", "x axis", "then")], "t", [], [onnx.ValueInfoProto(name="then")])
    other = helper.make_graph([node("Identity", "x", "else")], "e", [], [onnx.ValueInfoProto(name="else")])
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s asked", "d"),
        node("Equal", "d axis", "c"),
        node("If", "c", "y", then_branch=then, else_branch=other),
    ]
    constants = {"axis": np.array([1]), "asked": np.array([asked])}
    whole = model(nodes, [info("x", "n", "m", 2)], ["y"], constants)
    if not asked:
        with pytest.raises(UnsupportedModelError, match="expected one element type and rank"):
            imported(whole)
        return
    module = imported(whole)
    x = np.ones((3, 1, 2), np.float32)
    np.testing.assert_array_equal(evaluate(module, {"x": x})[0], x[:, 0])
    with pytest.raises(ExecutionError, match="does not reshape"):
        evaluate(module, {"x": np.ones((3, 2, 2), np.float32)})


def test_a_long_chain_of_constants(imported: Imported, evaluate: Evaluate) -> None:
    nodes = [node("Add", f"c{i} c0", f"c{i + 1}") for i in range(1500)]
    nodes += [node("Clip", "x c1500", "y")]
    module = imported(model(nodes, [info("x", 1)], ["y"], {"c0": np.float32(1)}))
    np.testing.assert_array_equal(evaluate(module, {"x": np.zeros(1, "f4")})[0], [1501])


@pytest.mark.parametrize("name", ["mnist", "dnsmos_model_v8"])
def test_real_models(name: str, evaluate: Evaluate) -> None:
    folder = os.environ.get("HEADRACE_MODELS")
    if folder is None:
        pytest.skip("HEADRACE_MODELS names no folder of models")
    path = Path(folder) / f"{name}.onnx"
    module = import_model(path)
    (parameter,) = main_of(module).parameters
    shape = [d.value if d.is_constant else 2 for d in tensor(parameter).dims]
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    (input_name,) = main_of(module).input_names
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for found, expected in zip(evaluate(module, {input_name: x}), session.run(None, {input_name: x}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
