"""Loop and Scan with a known number of turns, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.errors import UnsupportedModelError
from headrace.ir.graph.ops.loop import Loop
from headrace.ir.module import Module

Array = np.ndarray[Any, Any]
Imported = Callable[..., Module]
Evaluate = Callable[[Module, Mapping[str, Array]], list[Array]]
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), f"{op}_{outputs}".replace(" ", "_"), **attributes)


def info(name: str, kind: int, *dims: str | int | None) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


def body(inputs: list[Any], outputs: str, *nodes: Any, **constants: Array) -> Any:
    initializers = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    ends = [helper.make_empty_tensor_value_info(o) for o in outputs.split()]
    return helper.make_graph(nodes, "body", inputs, ends, initializers)


def model(nodes: list[Any], inputs: list[Any], outputs: str, **constants: Array) -> Any:
    graph = body(inputs, outputs, *nodes, **constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def agree(proto: Any, inputs: Mapping[str, Array], imported: Imported, evaluate: Evaluate) -> list[Array]:
    """What the import means is what ONNX Runtime does; the results."""
    inferred = onnx.shape_inference.infer_shapes(proto).SerializeToString()
    expected = onnxruntime.InferenceSession(inferred, providers=["CPUExecutionProvider"]).run(None, dict(inputs))
    found = evaluate(imported(proto), inputs)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-6)
    return found


def counting(*nodes: Any, ends: str = "go_on s row") -> Any:
    """A turn that adds y (from around it) and its number to the state, and appends the state."""
    taken = [info("i", I64), info("go", BOOL), info("state", F32, "n", 4)]
    work = [node("Cast", "i", "f", to=F32), node("Add", "state f", "t"), node("Add", "t y", "s")]
    work.append(node("Identity", "s", "row"))
    return body(taken, ends, *work, *(nodes or [node("Identity", "go", "go_on")]), three=np.array(3, np.int64))


AROUND = [node("Neg", "x", "y")]
TRUE, FALSE = np.array(True), np.array(False)


@pytest.mark.parametrize(("count", "condition"), [(4, TRUE), (1, None), (0, TRUE), (3, FALSE)])
def test_loop(count: int, condition: Array | None, imported: Imported, evaluate: Evaluate) -> None:
    inputs = "m c x" if condition is not None else "m  x"
    turned = helper.make_node("Loop", inputs.split(" "), ["z", "rows"], "turn", body=counting())
    constants = {"m": np.array(count, np.int64)} | ({} if condition is None else {"c": condition})
    proto = model([*AROUND, turned], [info("x", F32, 3, 4)], "z rows", **constants)
    z, rows = agree(proto, {"x": X}, imported, evaluate)
    turns = count if condition is not FALSE else 0
    assert z.shape == (3, 4) and rows.shape == (turns, 3, 4)


def test_a_condition_that_ends_the_loop(imported: Imported, evaluate: Evaluate) -> None:
    """It is computed from the number of the turn, so it is known."""
    graph = counting(node("Less", "i three", "go_on"))
    turned = helper.make_node("Loop", ["", "c", "x"], ["z", "rows"], "turn", body=graph)
    proto = model([*AROUND, turned], [info("x", F32, 3, 4)], "z rows", c=TRUE)
    assert agree(proto, {"x": X}, imported, evaluate)[1].shape == (4, 3, 4)


def test_a_state_that_grows(imported: Imported, evaluate: Evaluate) -> None:
    taken = [info("i", I64), info("go", BOOL), info("state", F32, None, 4)]
    graph = body(taken, "on s", node("Identity", "go", "on"), node("Concat", "state x", "s", axis=0))
    turned = node("Loop", "m c x", "z", body=graph)
    proto = model([turned], [info("x", F32, 3, 4)], "z", m=np.array(3, np.int64), c=TRUE)
    assert agree(proto, {"x": X}, imported, evaluate)[0].shape == (12, 4)


@pytest.mark.parametrize("backwards", [0, 1])
def test_scan(backwards: int, imported: Imported, evaluate: Evaluate) -> None:
    """Two scanned inputs along different axes, one backwards; the second output along its last axis, backwards too."""
    taken = [info("s", F32, 3), info("a", F32, 3), info("b", F32, 3)]
    work = [node("Mul", "a b", "p"), node("Add", "s p", "t"), node("Identity", "t", "u"), node("Neg", "t", "v")]
    scanned = node(
        "Scan",
        "zero x w",
        "last all neg",
        body=body(taken, "t u v", *work),
        num_scan_inputs=2,
        scan_input_axes=[1, 0],
        scan_input_directions=[0, backwards],
        scan_output_axes=[0, -1],
        scan_output_directions=[backwards, 1],
    )
    constants = {"zero": np.zeros(3, np.float32), "w": X.T.copy() + 1}
    proto = model([scanned], [info("x", F32, 3, 4)], "last all neg", **constants)
    _, rows, columns = agree(proto, {"x": X}, imported, evaluate)
    assert rows.shape == (4, 3) and columns.shape == (3, 4)


@pytest.mark.parametrize(
    ("given", "constants"),
    [({"m": np.array(3)}, {"c": TRUE}), ({"c": TRUE}, {"m": np.array(2)}), ({"c": FALSE}, {"m": np.array(2)})],
)
def test_what_is_not_known_is_a_loop(
    given: Mapping[str, Array], constants: Mapping[str, Array], imported: Imported, evaluate: Evaluate
) -> None:
    inputs = [info("x", F32, 3, 4), *(info(n, I64 if n == "m" else BOOL) for n in given)]
    proto = model([*AROUND, node("Loop", "m c x", "z rows", body=counting())], inputs, "z rows", **constants)
    (loop,) = walk(imported(proto), Loop)
    assert (loop.most is None, loop.condition is None) == ("m" in constants, "c" in constants)
    agree(proto, {"x": X, **given}, imported, evaluate)


def test_too_many_turns_to_be_written_out_are_a_loop(imported: Imported) -> None:
    proto = model(
        [*AROUND, node("Loop", "m c x", "z rows", body=counting())],
        [info("x", F32, 3, 4)],
        "z rows",
        c=TRUE,
        m=np.array(10**9),
    )
    (loop,) = walk(imported(proto), Loop)
    assert (loop.most, loop.condition, loop.limit) == (None, None, Dim.constant(10**9))
    assert [str(t) for t in loop.types] == ["f32[3, 4]", "f32[1000000000, 3, 4]"]


def test_a_sequence_is_not_carried_as_often_as_data_say(imported: Imported) -> None:
    state = helper.make_tensor_sequence_value_info("seq", F32, None)
    work = [node("Identity", "go", "on"), node("SequenceInsert", "seq x", "longer")]
    turned = node("Loop", "m c none", "all", body=body([info("i", I64), info("go", BOOL), state], "on longer", *work))
    nodes = [node("SequenceEmpty", "", "none"), turned, node("ConcatFromSequence", "all", "y", axis=0)]
    proto = model(nodes, [info("x", F32, 3, 4), info("m", I64)], "y", c=TRUE)
    with pytest.raises(
        UnsupportedModelError, match="carries a sequence or an optional from turn to turn, as often as data"
    ):
        imported(proto)


def test_a_sequence_as_state(imported: Imported, evaluate: Evaluate) -> None:
    """What each turn inserts is known by its place; joined again behind the loop."""
    state = helper.make_tensor_sequence_value_info("seq", F32, None)
    taken = [info("i", I64), info("go", BOOL), state, info("s", F32, 3, 4)]
    work = [node("Identity", "go", "on"), node("Add", "s x", "t"), node("SequenceInsert", "seq t", "longer")]
    turned = node("Loop", "m c none x", "all last", body=body(taken, "on longer t", *work))
    nodes = [node("SequenceEmpty", "", "none"), turned, node("ConcatFromSequence", "all", "y", axis=0)]
    proto = model(nodes, [info("x", F32, 3, 4)], "y", m=np.array(3, np.int64), c=TRUE)
    (y,) = evaluate(imported(proto), {"x": X})
    np.testing.assert_allclose(y, np.concatenate([2 * X, 3 * X, 4 * X]), rtol=1e-6)


@pytest.mark.parametrize("count", [0, -1, 3, 1 << 31, 1 << 62])
def test_more_scan_inputs_than_inputs(count: int, imported: Imported) -> None:
    inner = body([info("a", TensorProto.FLOAT, 4), info("b", TensorProto.FLOAT, 4)], "c", node("Add", "a b", "c"))
    scan = node("Scan", "s x", "y", num_scan_inputs=count, body=inner)
    proto = model([scan], [info("s", TensorProto.FLOAT, 4), info("x", TensorProto.FLOAT, 3, 4)], "y")
    with pytest.raises(UnsupportedModelError, match=f"num_scan_inputs is {count}, expected 1 to 2, as many as"):
        imported(proto)


@pytest.mark.parametrize(
    ("attributes", "wrong"),
    [
        ({"scan_input_axes": [2]}, "scan_input_axes has 2 for a tensor of 2 dims"),
        ({"scan_input_axes": [0, 0]}, "scan_input_axes has 2 numbers, expected 1"),
        ({"scan_input_directions": [0, 0, 0]}, "scan_input_directions has 3 numbers, expected 1"),
        ({"scan_output_axes": [1, 1]}, "scan_output_axes has 2 numbers, expected 1"),
        ({"scan_output_axes": [-4]}, "scan_output_axes has -4 for a tensor of 2 dims"),
    ],
)
@pytest.mark.parametrize("turns", [3, "n"])
def test_axes_of_scan_that_are_none(
    attributes: dict[str, Any], wrong: str, turns: int | str, imported: Imported
) -> None:
    inner = body(
        [info("a", TensorProto.FLOAT, 4), info("b", TensorProto.FLOAT, 4)],
        "c d",
        node("Add", "a b", "c"),
        node("Identity", "c", "d"),
    )
    scan = node("Scan", "s x", "t y", num_scan_inputs=1, body=inner, **attributes)
    proto = model([scan], [info("s", TensorProto.FLOAT, 4), info("x", TensorProto.FLOAT, turns, 4)], "y")
    with pytest.raises(UnsupportedModelError, match=wrong):
        imported(proto)
