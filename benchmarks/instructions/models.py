"""Small models of one operator or a few, each about what one kernel is.  In: a name.  Out: an ONNX model, its inputs.

Sizes are such that the kernel's inner loops dominate, and that no dim is a multiple of every tile: tails count too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Model = tuple[onnx.ModelProto, dict[str, Array]]


def _model(nodes: Sequence[NodeProto], x: tuple[int, ...], **weights: Array) -> Model:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model), {"x": _random(*x)}


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _node(op: str, inputs: str, output: str = "y", **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"{op}_{output}", **attributes)


def _gemm() -> Model:
    return _model([_node("Gemm", "x w b")], (49, 200), w=_random(200, 136), b=_random(136))


def _gemv() -> Model:
    return _model([_node("MatMul", "x w")], (1, 384), w=_random(384, 520))


def _conv(channels: int, filters: int, kernel: int, **attributes: Any) -> Model:
    group = attributes.get("group", 1)
    weights = {"w": _random(filters, channels // group, kernel, kernel), "b": _random(filters)}
    pads = [kernel // 2] * 4
    nodes = [_node("Conv", "x w b", "c", pads=pads, **attributes), _node("Relu", "c")]
    return _model(nodes, (1, channels, 15, 15), **weights)


def _softmax() -> Model:
    return _model([_node("Softmax", "x", axis=-1)], (48, 130))


def _layer_norm() -> Model:
    return _model([_node("LayerNormalization", "x s b", axis=-1)], (32, 196), s=_random(196), b=_random(196))


def _silu() -> Model:
    return _model([_node("Sigmoid", "x", "s"), _node("Mul", "x s")], (40, 250))


def _attention() -> Model:
    """Softmax(x xᵀ) x for two heads of 40 positions."""
    nodes = [
        _node("Transpose", "x", "t", perm=[0, 2, 1]),
        _node("MatMul", "x t", "scores"),
        _node("Softmax", "scores", "weights", axis=-1),
        _node("MatMul", "weights x"),
    ]
    return _model(nodes, (2, 40, 32))


MODELS: dict[str, Callable[[], Model]] = {
    "gemm": _gemm,
    "gemv": _gemv,
    "conv_1x1": lambda: _conv(40, 72, 1),
    "conv_3x3": lambda: _conv(24, 40, 3),
    "conv_3x3_stride_2": lambda: _conv(24, 40, 3, strides=[2, 2]),
    "depthwise_3x3": lambda: _conv(72, 72, 3, group=72),
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "silu": _silu,
    "attention": _attention,
}
