"""Kernels of rows: softmax, norms and chains of them, compiled and run at sizes around vectors, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile
from headrace.ir.pass_manager import Hooks
from headrace.ir.semantic import SemanticCheck
from headrace.runtime.python import load

Dims = tuple[str | int, ...]


def model(nodes: list[onnx.NodeProto], inputs: dict[str, Dims], **constants: object) -> onnx.ModelProto:
    """The last node's result is the output `y`."""
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in inputs.items()]
    found = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    held = [numpy_helper.from_array(np.asarray(c), n) for n, c in constants.items()]
    graph = helper.make_graph(nodes, "g", given, found, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def softmax() -> onnx.ModelProto:
    return model([node("Softmax", "x", "y", axis=-1)], {"x": ("b", 3, "s")})


def log_softmax() -> onnx.ModelProto:
    return model([node("LogSoftmax", "x", "y", axis=-1)], {"x": ("b", "s")})


def masked_softmax() -> onnx.ModelProto:
    nodes = [node("Div", "x c", "d"), node("Add", "d m", "a"), node("Softmax", "a", "y", axis=-1)]
    return model(nodes, {"x": ("b", 2, "s", "s"), "m": ("b", 1, 1, "s")}, c=np.float32(8))


def layer_norm() -> onnx.ModelProto:
    return model([node("LayerNormalization", "x w v", "y")], {"x": ("b", "s"), "w": ("s",), "v": ("s",)})


def layer_norm_in_parts() -> onnx.ModelProto:
    nodes = [
        node("Add", "x r", "z"),
        node("ReduceMean", "z", "m", axes=[-1]),
        node("Sub", "z m", "d"),
        node("Pow", "d two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v e", "v1"),
        node("Sqrt", "v1", "sd"),
        node("Div", "d sd", "n"),
        node("Mul", "n w", "n1"),
        node("Add", "n1 w", "y"),
    ]
    inputs: dict[str, Dims] = {"x": ("b", 2, "s"), "r": (1, 2, "s"), "w": ("s",)}
    return model(nodes, inputs, two=np.float32(2), e=np.float32(1e-5))


def norm_over_two_dims() -> onnx.ModelProto:
    nodes = [
        node("ReduceMean", "x", "m", axes=[2, 3]),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q"),
        node("ReduceSum", "q a", "v"),
        node("Div", "d v", "y"),
    ]
    return model(nodes, {"x": ("b", 3, "s", "s")}, a=np.array([2, 3]))


def attention() -> onnx.ModelProto:
    """As exporters write it: heads split and joined by reshapes and transposes, a mask for each key."""
    return _attention(20, ["Add scaled m masked"], {"m": ("b", 1, 1, "s")})


def short_attention() -> onnx.ModelProto:
    """Heads of fewer numbers than a vector has lanes, and no mask."""
    return _attention(3, ["Identity scaled masked"], {})


def one_query() -> onnx.ModelProto:
    """One token after many."""
    nodes = [
        node("Transpose", "k", "k_t", perm=[0, 1, 3, 2]),
        node("MatMul", "q k_t", "scores"),
        node("Softmax", "scores", "p", axis=-1),
        node("MatMul", "p v", "y"),
    ]
    return model(nodes, {"q": ("b", 2, 1, 20), "k": ("b", 2, "s", 20), "v": ("b", 2, "s", 20)})


def cached_attention() -> onnx.ModelProto:
    """Tokens after others whose keys and values are given; each sees those before it, by a mask cut out of a larger one."""
    nodes = [
        node("Concat", "past_k k", "all_k", axis=2),
        node("Concat", "past_v v", "all_v", axis=2),
        node("Shape", "q", "tokens", start=2, end=3),
        node("Shape", "all_k", "end", start=2, end=3),
        node("Sub", "end tokens", "start"),
        node("Slice", "mask start end row", "rows"),
        node("Slice", "rows zero end column", "seen"),
        node("Transpose", "all_k", "k_t", perm=[0, 1, 3, 2]),
        node("MatMul", "q k_t", "scores"),
        node("Where", "seen scores c", "masked"),
        node("Softmax", "masked", "p", axis=-1),
        node("MatMul", "p all_v", "o"),
        node("Transpose", "o", "y", perm=[0, 2, 1, 3]),
    ]
    inputs: dict[str, Dims] = dict.fromkeys("qkv", ("b", 2, "n", 20))
    inputs |= dict.fromkeys(("past_k", "past_v"), ("b", 2, "s", 20))
    held = {"zero": np.array([0]), "row": np.array([2]), "column": np.array([3]), "c": np.float32(-1e4)}
    return model(nodes, inputs, mask=np.tril(np.ones((1, 1, 256, 256), bool)), **held)


def _attention(size: int, masking: list[str], more: dict[str, Dims]) -> onnx.ModelProto:
    nodes = []
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("Reshape", f"{name} split", f"{name}_r"),
            node("Transpose", f"{name}_r", f"{name}_t", perm=order),
        ]
    nodes += [node("MatMul", "q_t k_t", "scores"), node("Div", "scores c", "scaled")]
    for line in masking:
        kind, *inputs, output = line.split()
        nodes.append(node(kind, " ".join(inputs), output))
    nodes += [
        node("Softmax", "masked", "p", axis=-1),
        node("MatMul", "p v_t", "o"),
        node("Transpose", "o", "o_t", perm=[0, 2, 1, 3]),
        node("Reshape", "o_t join", "y"),
    ]
    projected: dict[str, Dims] = dict.fromkeys("qkv", ("b", "s", 2 * size))
    return model(
        nodes, {**projected, **more}, c=np.float32(8), split=np.array([0, 0, 2, size]), join=np.array([0, 0, 2 * size])
    )


def columns() -> onnx.ModelProto:
    """Not along the fastest dim: no rows."""
    return model([node("Softmax", "x", "y", axis=1)], {"x": ("b", "s", 10)})


MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], int]] = {
    "softmax": (softmax, 1),
    "log_softmax": (log_softmax, 1),
    "masked_softmax": (masked_softmax, 1),
    "layer_norm": (layer_norm, 1),
    "layer_norm_in_parts": (layer_norm_in_parts, 1),
    "norm_over_two_dims": (norm_over_two_dims, 1),
    "columns": (columns, 4),
    "attention": (attention, 1),
    "short_attention": (short_attention, 1),
    "one_query": (one_query, 1),
    "cached_attention": (cached_attention, 2),  # of them one for keys and values
}


@pytest.mark.parametrize("name", MODELS)
def test_as_onnxruntime(name: str, tmp_path: Path) -> None:
    """Every size by one artefact, in one kernel where the rows are one; each pass checked on the way."""
    make, kernels = MODELS[name]
    proto = make()
    onnx.save(proto, tmp_path / "m.onnx")
    check = SemanticCheck()
    hooks = Hooks(verify_each="semantic", semantic=check)
    assert compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", hooks=hooks).kernels == kernels
    assert check.checked and not check.unchecked, check.summary()
    session = load(tmp_path / "m.hrm", threads=1)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(4)
    for rows, length in ((1, 1), (2, 7), (3, 8), (5, 33), (4, 64), (1, 197)):
        sizes = {"b": rows, "s": length, "n": rows}
        inputs = {
            i.name: rng.standard_normal(
                [sizes.get(d.dim_param, d.dim_value) for d in i.type.tensor_type.shape.dim]
            ).astype(np.float32)
            for i in proto.graph.input
        }
        (expected,) = reference.run(None, inputs)
        found = session.run(inputs)["y"]
        assert found.shape == expected.shape, sizes
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(found), finite)
        error = np.abs(found - expected)[finite].max(initial=0)
        assert error <= 1e-5 * np.abs(expected[finite]).max(initial=1e-3), sizes
