"""What small models are made of.  In: nodes, the shape of the input `x`, weights.  Out: an ONNX model, its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Model = tuple[onnx.ModelProto, dict[str, Array]]


def model(nodes: Sequence[NodeProto], x: tuple[int, ...], **weights: Array) -> Model:
    """From `x` to `y`; inputs of the nodes that are neither are weights."""
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model), {"x": random(*x)}


def random(*shape: int) -> Array:
    """Normally distributed f32, the same at every call."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> NodeProto:
    """`inputs`: names with spaces between them."""
    return helper.make_node(op, inputs.split(), [output], name=f"{op}_{output}", **attributes)
