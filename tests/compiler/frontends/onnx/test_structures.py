"""Sequences and optionals of known structure: what they come to, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import headrace as hr
from headrace.compiler.frontends.onnx.ports import kinds
from headrace.testing import run_onnx

F = TensorProto.FLOAT
X = helper.make_tensor_value_info("x", F, ["n", 4])
Y = helper.make_tensor_value_info("y", F, None)
SEQUENCE = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F, None))
S = helper.make_value_info("s", SEQUENCE)
OUT = helper.make_value_info("out", SEQUENCE)


def saved(tmp_path: Path, text_nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> str:
    tensors = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(text_nodes, "g", inputs, outputs, tensors)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return str(path)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(","), outputs.split(","), **attributes)


def array(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_a_cut_into_a_million_pieces(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("SplitToSequence", "x", "out", axis=1)], [wide(1 << 20)], [OUT])
    with pytest.raises(
        hr.errors.UnsupportedModelError, match="cuts a dim of 1048576 into pieces of 1, expected at most 1024"
    ):
        hr.compile(path, output=tmp_path / "m.hrm")


def wide(length: int) -> Any:
    return helper.make_tensor_value_info("x", F, ["n", length])


def test_insert_erase_at_length(tmp_path: Path) -> None:
    nodes = [
        node("Neg", "x", "m"),
        node("SequenceConstruct", "x,m,x", "a"),
        node("SequenceErase", "a,first", "b"),
        node("SequenceInsert", "b,m,first", "c"),
        node("SequenceAt", "c,last", "z"),
        node("SequenceLength", "c", "k"),
        node("Cast", "k", "kf", to=F),
        node("Add", "z,kf", "y"),
    ]
    path = saved(tmp_path, nodes, [X], [Y], first=np.int64(0), last=np.int64(-1))
    x = array(3, 4)
    np.testing.assert_array_equal(run_onnx(path, {"x": x}, shapes="static")[0], x + 3)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_split_and_concat(tmp_path: Path, keepdims: int) -> None:
    nodes = [
        node("SplitToSequence", "x", "a", axis=1, keepdims=keepdims),
        node("ConcatFromSequence", "a", "y", axis=0, new_axis=1 - keepdims),
    ]
    x = array(3, 4)
    found = run_onnx(saved(tmp_path, nodes, [X], [Y]), {"x": x}, shapes="static")[0]
    np.testing.assert_array_equal(found, x.T if not keepdims else x.T.reshape(12, 1))


def test_uneven_pieces_are_an_output_each(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("SplitToSequence", "x,three", "out", axis=1)], [X], [OUT], three=np.int64(3))
    x = array(2, 4)
    pieces = run_onnx(path, {"x": x}, shapes="static")[0]
    np.testing.assert_array_equal(pieces[0], x[:, :3])
    np.testing.assert_array_equal(pieces[1], x[:, 3:])
    hr.compile(path, output=tmp_path / "m.hrm")
    assert [p.name for p in hr.load(tmp_path / "m.hrm").outputs] == ["out[0]", "out[1]"]


def test_a_sequence_input_is_a_tensor_for_each_shape(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("ConcatFromSequence", "s", "y", axis=0)], [S], [Y])
    hr.compile(path, output=tmp_path / "m.hrm", shapes={"s[0]": ("n", 3), "s[1]": (2, 3)})
    session = hr.load(tmp_path / "m.hrm")
    assert [(p.name, p.shape) for p in session.inputs] == [("s[0]", ("n", 3)), ("s[1]", (2, 3))]
    a, b = array(4, 3), array(2, 3)
    np.testing.assert_array_equal(session.run({"s[0]": a, "s[1]": b})["y"], np.concatenate([a, b]))
    with pytest.raises(hr.errors.UnsupportedModelError, match=r"'s': a sequence; give a shape for each .*'s\[0\]'"):
        hr.compile(path, output=tmp_path / "m.hrm")
    assert kinds(path) == ({"s": "sequence"}, {"y": "tensor"})


def test_an_empty_sequence_input(tmp_path: Path) -> None:
    nodes = [node("SequenceInsert", "s,x", "a"), node("SequenceAt", "a,zero", "y")]
    path = saved(tmp_path, nodes, [S, X], [Y], zero=np.int64(0))
    x = array(2, 4)
    np.testing.assert_array_equal(run_onnx(path, {"s": [], "x": x}, shapes="static")[0], x)


@pytest.mark.parametrize("given", [True, False])
def test_an_optional_input_is_there_if_it_has_a_shape(tmp_path: Path, given: bool) -> None:
    optional = helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(F, ["m", 4])))
    then = helper.make_graph(
        [node("OptionalGetElement", "o", "t")], "then", [], [helper.make_value_info("t", SEQUENCE)]
    )
    other = helper.make_graph([node("Identity", "x", "e")], "else", [], [helper.make_tensor_value_info("e", F, None)])
    then.output[0].type.CopyFrom(other.output[0].type)
    nodes = [node("OptionalHasElement", "o", "h"), node("If", "h", "y", then_branch=then, else_branch=other)]
    path = saved(tmp_path, nodes, [optional, X], [Y])
    o, x = array(3, 4), array(2, 4)
    found = run_onnx(path, {"o": o if given else None, "x": x}, shapes="dynamic")[0]
    np.testing.assert_array_equal(found, o if given else x)


def test_sequence_map_is_its_body_for_each_element(tmp_path: Path) -> None:
    element = helper.make_tensor_value_info("e", F, None)
    scale = helper.make_tensor_value_info("w", F, None)
    body = helper.make_graph([node("Mul", "e,w", "p"), node("Sub", "p,x", "q")], "b", [element, scale],
                             [helper.make_tensor_value_info("q", F, None)])  # fmt: skip
    nodes = [node("SequenceConstruct", "x,x", "a"), node("SequenceMap", "a,x", "out", body=body)]
    x = array(2, 4)
    found = run_onnx(saved(tmp_path, nodes, [X], [OUT]), {"x": x}, shapes="static")[0]
    assert len(found) == 2
    for one in found:
        np.testing.assert_allclose(one, x * x - x, rtol=1e-6, atol=1e-6)


INDEX = helper.make_tensor_value_info("i", TensorProto.INT64, [])


@pytest.mark.parametrize(
    ("nodes", "error", "message"),
    [
        ([node("SequenceConstruct", "x", "a"), node("SequenceAt", "a,i", "y")],
         hr.errors.UnsupportedModelError, "the position is data, expected an integer that is known while compiling"),
        ([node("SequenceConstruct", "x", "a"), node("SequenceAt", "a,two", "y")],
         hr.errors.ModelError, "position is 2, out of range for a sequence of 1"),
        ([node("SequenceConstruct", "x", "a"), node("Neg", "a", "y")],
         hr.errors.UnsupportedModelError, "an input is a sequence or an optional, expected tensors"),
        ([node("SequenceAt", "x,two", "y")], hr.errors.ModelError, "input 0 is f32.*which SequenceAt does not take"),
        ([node("SplitToSequence", "x,i", "a"), node("SequenceAt", "a,two", "y")],
         hr.errors.UnsupportedModelError, "the sizes are data"),
        ([node("SplitToSequence", "x", "a"), node("SequenceAt", "a,two", "y")],
         hr.errors.UnsupportedModelError, "cuts a dim of n into pieces of 1, expected numbers"),
        ([node("SequenceEmpty", "", "a"), node("ConcatFromSequence", "a", "y", axis=0)],
         hr.errors.UnsupportedModelError, "the sequence is empty"),
        ([node("Optional", "", "a", type=helper.make_tensor_type_proto(F, None)), node("OptionalGetElement", "a", "y")],
         hr.errors.ModelError, "the optional is empty"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, nodes: list[Any], error: type[Exception], message: str) -> None:
    for one in nodes:
        if list(one.input) == [""]:
            del one.input[:]
    path = saved(tmp_path, nodes, [X, INDEX], [Y], two=np.int64(2))
    with pytest.raises(error, match=message):
        hr.compile(path, output=tmp_path / "m.hrm")
