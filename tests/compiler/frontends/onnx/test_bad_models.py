"""Files that are no right model: one line that names the place, whatever the bytes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

from headrace.compiler.frontends.onnx import import_model
from headrace.ir.errors import HeadraceError, ModelError, OptionError, UnsupportedModelError

Imported = Callable[..., Any]


def value(name: str, *dims: int | str | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    *nodes: NodeProto,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: tuple[str, ...] = ("y",),
    constants: tuple[TensorProto, ...] = (),
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [value("x", 2, 3)] if inputs is None else inputs,
        [onnx.ValueInfoProto(name=o) for o in outputs],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def node(op_type: str, inputs: str, outputs: str, name: str | None = None, **attributes: Any) -> NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), name, **attributes)


RELU = node("Relu", "x", "y", "a")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read: no such file or directory"):
        import_model(tmp_path / "none.onnx")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: is a directory"):
        import_model(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "model.onnx: the file is empty, expected an ONNX model"),
        (b"hello, world\n", "model.onnx: not an ONNX model: the bytes are no protobuf message of one"),
        (b"\x08\x08", "model.onnx: not an ONNX model: there is no graph in it"),
    ],
)
def test_no_model(content: bytes, message: str, imported: Imported) -> None:
    with pytest.raises(ModelError) as error:
        imported(content)
    assert str(error.value) == message


def shuffled(length: int) -> list[NodeProto]:
    return [node("Relu", f"v{i}", f"v{i + 1}", f"n{i}") for i in reversed(range(length))]


CASES = {
    "cycle": (
        model(node("Add", "x c", "b", "one"), node("Relu", "b", "c", "two"), outputs=("c",)),
        "node 'one': a cycle: 'one' -> 'two' -> 'one'",
    ),
    "cycle of one": (model(node("Add", "x y", "y", "self")), "node 'self': a cycle: 'self' -> 'self'"),
    "missing input": (
        model(node("Add", "x weight", "y", "add"), constants=(numpy_helper.from_array(np.ones(3, "f4"), "weights"),)),
        "node 'add': input 'weight': nothing makes it; did you mean 'weights'?",
    ),
    "unnamed node": (model(node("Add", "x z", "y")), "node 'Add_0': input 'z': nothing makes it"),
    "missing output": (model(RELU, outputs=("yy",)), "output 'yy': no node makes it; did you mean 'y'?"),
    "no outputs": (model(RELU, outputs=()), "the graph has no outputs"),
    "output declared twice": (model(RELU, outputs=("y", "y")), "output 'y' is declared twice"),
    "output made twice": (
        model(RELU, node("Exp", "x", "y", "b")),
        "node 'b': output 'y' is made by node 'a' too",
    ),
    "input made again": (
        model(node("Relu", "x", "x", "a"), outputs=("x",)),
        "node 'a': output 'x' is an input or initializer too",
    ),
    "input declared twice": (model(RELU, inputs=[value("x", 1), value("x", 1)]), "input 'x' is declared twice"),
    "input without type": (
        model(RELU, inputs=[onnx.ValueInfoProto(name="x")]),
        "input 'x': no type, expected a tensor's",
    ),
    "too few inputs": (model(node("Add", "x", "y", "a")), "node 'a': 1 inputs, expected 2"),
    "too many inputs": (model(node("Relu", "x x", "y", "a")), "node 'a': 2 inputs, expected 1"),
    "too many outputs": (model(node("Relu", "x", "y z", "a")), "node 'a': 2 outputs, expected 1"),
    "input left out": (
        model(helper.make_node("Add", ["", "x"], ["y"], "a")),
        "node 'a': input 0 ('A') is left out",
    ),
    "unknown attribute": (
        model(node("Softmax", "x", "y", "a", axes=1)),
        "node 'a': attribute 'axes' is none of Softmax's; did you mean 'axis'?",
    ),
    "attribute of another type": (
        model(node("Softmax", "x", "y", "a", axis=1.5)),
        "node 'a': attribute 'axis' is float, expected int",
    ),
    "attribute left out": (model(node("Cast", "x", "y", "a")), "node 'a': attribute 'to' is missing"),
    "element type": (
        model(node("Exp", "x", "y", "a"), inputs=[value("x", 2, kind=TensorProto.INT64)]),
        "node 'a': input 0 is i64[2], which Exp does not take in this opset",
    ),
    "element types that differ": (
        model(node("Add", "x z", "y", "a"), inputs=[value("x", 2), value("z", 2, kind=TensorProto.DOUBLE)]),
        "node 'a': input 1 is f64[2], expected elements of f32 as in the inputs before",
    ),
    "shapes that do not broadcast": (
        model(node("Add", "x z", "y", "a"), inputs=[value("x", 2), value("z", 3)]),
        "node 'a': operands of f32[2] and f32[3] do not broadcast: 2 against 3",
    ),
    "shapes of a product": (
        model(node("MatMul", "x z", "y", "a"), inputs=[value("x", "n", 2), value("z", 3, 4)]),
        "node 'a': the shared dim is 2 in f32[n, 2] and 3 in f32[3, 4]",
    ),
    "groups": (
        model(node("Conv", "x w", "y", "Conv_7", group=3), inputs=[value("x", 1, 64, 8, 8), value("w", 64, 21, 3, 3)]),
        "node 'Conv_7': group is 3 but channels are 64; group must divide channels",
    ),
    "channels": (
        model(node("Conv", "x w", "y", "c"), inputs=[value("x", 1, 4, 8, 8), value("w", 6, 3, 3, 3)]),
        "node 'c': 4 channels, but the weights are for 3 in 1 groups",
    ),
    "kernel": (
        model(
            node("Conv", "x w", "y", "c", kernel_shape=[2, 2]),
            inputs=[value("x", 1, 3, 8, 8), value("w", 6, 3, 3, 3)],
        ),
        "node 'c': kernel_shape is [2, 2], but the weights are f32[6, 3, 3, 3]",
    ),
    "no window fits": (
        model(node("MaxPool", "x", "y", "p", kernel_shape=[5]), inputs=[value("x", 1, 1, 3)]),
        "node 'p': a window of 5 in spatial dim 0 of 3, padding included; no window fits",
    ),
    "stride": (
        model(node("MaxPool", "x", "y", "p", kernel_shape=[2], strides=[0]), inputs=[value("x", 1, 1, 3)]),
        "node 'p': stride 0 and dilation 1 of spatial dim 0, expected 1 or more",
    ),
    "images without spatial dims": (
        model(node("GridSample", "x g", "y", "a"), inputs=[value("x", 1, 2), value("g", 1, "n")], opset=20),
        "node 'a': the images are f32[1, 2], expected 3 dims or more",
    ),
    "regions without dims": (
        model(
            node("RoiAlign", "x r i", "y", "a", sampling_ratio=1),
            inputs=[value("x", 1, 1, 4, 4), value("r"), value("i", 2, kind=TensorProto.INT64)],
        ),
        "node 'a': images, regions and their images' numbers have (4, 0, 1) dims, expected (4, 2, 1)",
    ),
    "a transform of a number": (
        model(node("DFT", "x", "y", "a"), inputs=[value("x")], opset=20),
        "node 'a': axis is -2, expected 0 to -1",
    ),
    "a transform along data of a number": (
        model(helper.make_node("DFT", ["x", "", "d"], ["y"], "a"), inputs=[value("x"), value("d", kind=TensorProto.INT64)], opset=20),
        "node 'a': the input is f32[], expected 2 dims or more",
    ),
    "windows of another rank": (
        model(
            node("MaxUnpool", "x i", "y", "a", kernel_shape=[2, 2]),
            inputs=[value("x"), value("i", kind=TensorProto.INT64)],
        ),
        "node 'a': 2 dims of a kernel, 2 strides and 4 pads for f32[], expected as many as spatial dims, and two pads each",
    ),
    "axis": (model(node("Softmax", "x", "y", "a", axis=2)), "node 'a': axis is 2, expected -2 to 1"),
    "reshape": (
        model(node("Reshape", "x s", "y", "a"), constants=(numpy_helper.from_array(np.array([4, 2]), "s"),)),
        "node 'a': f32[2, 3] has 6 elements, f32[4, 2] has 8",
    ),
    "reshape with two unknowns": (
        model(node("Reshape", "x s", "y", "a"), constants=(numpy_helper.from_array(np.array([-1, -1]), "s"),)),
        "node 'a': the shape ['-1', '-1'] has more than one -1",
    ),
    "squeeze": (
        model(node("Squeeze", "x s", "y", "a"), constants=(numpy_helper.from_array(np.array([0]), "s"),)),
        "node 'a': squeezes a dim of 2 in f32[2, 3], expected 1",
    ),
    "permutation": (
        model(node("Transpose", "x", "y", "a", perm=[0, 0])),
        "node 'a': perm is [0, 0] for f32[2, 3], expected each of 0 to 1 once",
    ),
    "domain without opset": (
        model(helper.make_node("Foo", ["x"], ["y"], "a", domain="my.ops")),
        "node 'a': the model imports no opset of domain 'my.ops'",
    ),
    "initializer twice": (
        model(RELU, constants=tuple(numpy_helper.from_array(np.ones(2), "w") for _ in range(2))),
        "initializer 'w' is there twice",
    ),
    "short data": (
        model(
            node("Add", "x w", "y", "a"),
            constants=(TensorProto(name="w", data_type=1, dims=[2, 3], raw_data=b"1234"),),
        ),
        "initializer 'w': 4 bytes of data, expected 24 for f32[2, 3]",
    ),
    "negative dims": (
        model(node("Add", "x w", "y", "a"), constants=(TensorProto(name="w", data_type=1, dims=[-2]),)),
        "initializer 'w': dims are [-2], expected none below 0",
    ),
    "too little typed data": (
        model(node("Add", "x w", "y", "a"), constants=(TensorProto(name="w", data_type=1, dims=[3], float_data=[1]),)),
        "initializer 'w': the data do not make f32[3]: cannot reshape array of size 1 into shape (3,)",
    ),
    "text in latin-1": (
        model(
            NodeProto(
                op_type="MaxPool",
                name="p",
                input=["x"],
                output=["y"],
                attribute=[
                    onnx.AttributeProto(name="kernel_shape", type=7, ints=[1]),
                    onnx.AttributeProto(name="auto_pad", type=3, s=b"\xff"),
                ],
            ),
            inputs=[value("x", 1, 1, 4)],
        ),
        "node 'p': attribute 'auto_pad' is no text in UTF-8",
    ),
    "a range from nothing": (
        model(
            node("Range", "none one one", "r", "r"),
            node("Add", "r r", "y"),
            constants=(numpy_helper.from_array(np.ones(0), "none"), numpy_helper.from_array(np.ones(()), "one")),
        ),
        "node 'r': input 0 is f64[0], expected one number",
    ),
    "a condition without dims": (
        model(node("Compress", "x c", "y", "c"), inputs=[value("x", 2, 3), value("c", kind=TensorProto.BOOL)]),
        "node 'c': the condition is bool[], expected one dim",
    ),
    "a function that calls itself": (
        model(
            helper.make_node("Again", ["x"], ["y"], "a", domain="f"),
            functions=[
                helper.make_function(
                    "f",
                    "Again",
                    ["p"],
                    ["q"],
                    [helper.make_node("Again", ["p"], ["q"], domain="f")],
                    [helper.make_opsetid("f", 1)],
                )
            ],
        ),
        "node 'a': function 'Again' calls itself",
    ),
    "an integer convolution whose weights have another rank": (
        model(
            node("ConvInteger", "x w", "y", "a"),
            inputs=[value("x", 1, 1, 5, 5, kind=TensorProto.UINT8), value("w", 1, 1, 3, kind=TensorProto.UINT8)],
        ),
        "node 'a': inputs are i32[1, 1, 5, 5] and i32[1, 1, 3], expected one rank of 3 or more",
    ),
    "axes of a running sum": (
        model(
            node("CumSum", "x axes", "y", "a"),
            constants=(numpy_helper.from_array(np.array([0, 1]), "axes"),),
        ),
        "node 'a': inputs are f32[2, 3] and i64[2], expected rank 1 or more, and one axis",
    ),
    "a convolution of another rank than its offsets": (
        model(
            node("DeformConv", "x w o", "y", "a"),
            inputs=[value("x", 1, 3, 8), value("w", 4, 3, 3, 3), value("o", 1, 18, 6, 6)],
            opset=19,
        ),
        "node 'a': inputs are f32[1, 3, 8], f32[4, 3, 3, 3] and f32[1, 18, 6, 6], expected one rank of 3 or more",
    ),
    "no group of offsets": (
        model(
            node("DeformConv", "x w o", "y", "a", offset_group=0),
            inputs=[value("x", 1, 3, 8, 8), value("w", 4, 3, 3, 3), value("o", 1, 18, 6, 6)],
            opset=19,
        ),
        "node 'a': weights are f32[4, 3, 3, 3] for f32[1, 3, 8, 8], group is 1, offset_group 0: they do not fit",
    ),
    "too few pads": (
        model(
            node("DeformConv", "x w o", "y", "a", pads=[1]),
            inputs=[value("x", 1, 3, 8, 8), value("w", 4, 3, 3, 3), value("o", 1, 18, 6, 6)],
            opset=19,
        ),
        "node 'a': strides, dilations and pads have 2, 2 and 1 elements",
    ),
}


@pytest.mark.parametrize(("bad", "message"), CASES.values(), ids=list(CASES))
def test_contradictions(bad: onnx.ModelProto, message: str, imported: Imported) -> None:
    with pytest.raises(ModelError) as error:
        imported(bad)
    assert str(error.value) == f"model.onnx: {message}"


UNSUPPORTED = {
    "all together": (
        model(
            node("Softmaxx", "x", "a", "first"),
            node("MaxRoiPool", "x x", "b", "second", pooled_shape=[1, 1]),
            node("MaxRoiPool", "a x", "c", "third", pooled_shape=[1, 1]),
            node("Relu", "c", "y", "fourth"),
        ),
        "3 nodes cannot be compiled: node 'first' (Softmaxx, opset 17, of f32[2, 3]): no such operator; did you mean "
        "'Softmax'?; node 'second' (MaxRoiPool, opset 17, of f32[2, 3], f32[2, 3]): nothing here computes it; node "
        "'third' (MaxRoiPool, opset 17, of f32[2, 3]): nothing here computes it",
    ),
    "another domain": (
        helper.make_model(
            model(helper.make_node("Gelu", ["x"], ["y"], "a", domain="com.microsoft")).graph,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ),
        "a node cannot be compiled: node 'a' (com.microsoft.Gelu, opset 1, of f32[2, 3]): no such operator",
    ),
    "element type": (
        model(
            node("GridSample", "x g", "y", "a"),
            inputs=[value("x", 1, 1, 2, 2, kind=TensorProto.INT32), value("g", 1, 2, 2, 2)],
        ),
        "a node cannot be compiled: node 'a' (GridSample, opset 17, of i32[1, 1, 2, 2], f32[1, 2, 2, 2]): element type "
        "is i32, expected float in mode 'bilinear'",
    ),
    "rank that is data": (
        model(node("Reshape", "x s", "y", "a"), inputs=[value("x", 6), value("s", "n", kind=TensorProto.INT64)]),
        "a node cannot be compiled: node 'a' (Reshape, opset 17, of f32[6], i64[n]): input 1 is i64[n]: the rank "
        "of the result is data",
    ),
    "old opset": (model(RELU, opset=6), "opset 6, expected 7 to "),
    "strings": (
        model(RELU, inputs=[value("x", 2, kind=TensorProto.STRING)]),
        "input 'x': element type is string, expected one of f64, f32, f16, bf16, i64,",
    ),
    "no rank": (
        model(RELU, inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]),
        "input 'x': no declared rank; give its shape",
    ),
    "sequence": (
        model(RELU, inputs=[helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)]),
        "input 'x': a sequence; give a shape for each of its elements",
    ),
    "inside of a function": (
        model(
            helper.make_node("Decoded", ["x"], ["y"], "a", domain="f"),
            inputs=[value("x", 6, kind=TensorProto.UINT8)],
            opset=20,
            functions=[
                helper.make_function(
                    "f",
                    "Decoded",
                    ["p"],
                    ["q"],
                    [helper.make_node("ImageDecoder", ["p"], ["q"])],
                    [helper.make_opsetid("", 20)],
                )
            ],
        ),
        "a node cannot be compiled: node 'a' (f.Decoded, opset unknown, of u8[6]): its function body needs "
        "ImageDecoder: nothing here computes it",
    ),
    "a table of n-grams that no memory holds": (
        model(
            node(
                "TfIdfVectorizer",
                "x",
                "y",
                "a",
                mode="TF",
                min_gram_length=1,
                max_gram_length=1,
                max_skip_count=0,
                ngram_counts=[0],
                ngram_indexes=[0, 2**60],
                pool_int64s=[3, 4],
            ),
            inputs=[value("x", 6, kind=TensorProto.INT64)],
        ),
        "a node cannot be compiled: node 'a' (TfIdfVectorizer, opset 17, of i64[6]): "
        "2 n-grams with indexes up to 1152921504606846976: its table is too large",
    ),
}


@pytest.mark.parametrize(("bad", "message"), UNSUPPORTED.values(), ids=list(UNSUPPORTED))
def test_unsupported(bad: onnx.ModelProto, message: str, imported: Imported) -> None:
    with pytest.raises(UnsupportedModelError) as error:
        imported(bad)
    assert str(error.value).startswith(f"model.onnx: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": [1]}, "model.onnx: shape for 'z', which is no input; expected one of x"),
        ({"x": [1]}, "model.onnx: input 'x': shape [1] has rank 1, the model's is 2"),
        ({"x": [1, 0]}, "model.onnx: input 'x': a dim of 0, expected a name or a whole number from 1 on"),
        ({"x": [1, 3.5]}, "model.onnx: input 'x': a dim of 3.5, expected a name or a whole number from 1 on"),
    ],
)
def test_wrong_shapes(shapes: dict[str, list[int]], message: str, imported: Imported) -> None:
    with pytest.raises(OptionError) as error:
        imported(model(RELU), shapes)
    assert str(error.value) == message


def test_nodes_in_any_order(imported: Imported) -> None:
    module = imported(model(*shuffled(5), inputs=[value("v0", 2)], outputs=("v5",)))
    names = [o.location.nodes[0] for o in module.function("main").block.body]
    assert names == ["n0", "n1", "n2", "n3", "n4"]


WHOLE = model(
    node("Conv", "x w", "h", "c", pads=[1, 1]),
    node("Relu", "h", "r", "r"),
    node("Reshape", "r s", "t", "t"),
    node("Softmax", "t", "y", "m"),
    inputs=[value("x", "n", 2, 8)],
    constants=(
        numpy_helper.from_array(np.ones((4, 2, 3), "f4"), "w"),
        numpy_helper.from_array(np.array([0, -1]), "s"),
    ),
).SerializeToString()


@settings(max_examples=400)
@given(data=st.data())
def test_damaged_bytes_give_an_error_or_a_module(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(WHOLE[: data.draw(st.integers(0, len(WHOLE)))] if data.draw(st.booleans()) else WHOLE)
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content)
    try:
        import_model(path)
    except HeadraceError as error:
        message = str(error)
    else:
        return
    assert message.startswith("damaged.onnx: ")
    assert "\n" not in message
