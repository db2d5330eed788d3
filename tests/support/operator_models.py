"""Models of many contractions, windows and recurrent layers at sizes around the tiles of each CPU.

In: sizes for the symbols of their inputs.  Out: ONNX models, each node with an output of its own, so that one
compilation tries them all; and random inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(11)


def f32(*shape: int) -> Array:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


@dataclass
class Nodes:
    """A model under construction: inputs by name with their dims, nodes, constants."""

    inputs: dict[str, tuple[str | int, ...]]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op_type: str, *operands: str | Array, relu: bool = False, **attributes: Any) -> None:
        """A node whose result is an output, perhaps with a Relu behind it."""
        names = [o if isinstance(o, str) else self.constant(o) for o in operands]
        label = f"{op_type}_{len(self.outputs)}"
        inner = f"{label}_inner" if relu else label
        self.nodes.append(helper.make_node(op_type, names, [inner], f"n_{label}", **attributes))
        if relu:
            self.nodes.append(helper.make_node("Relu", [inner], [label], f"r_{label}"))
        self.outputs.append(label)

    def model(self) -> bytes:
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in self.outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.constants)
        found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(found.SerializeToString())


def matmuls() -> Nodes:
    """Rows are symbolic; widths from one column to more than a tile of any CPU."""
    m = Nodes({"x": ("m", 7)})
    for width in (1, 3, 4, 8, 15, 16, 17, 33, 64, 130):
        m.add("MatMul", "x", f32(7, width))
    m.add("MatMul", f32(5, 6), m.constant(f32(6, 9)))
    for a, b in ((0, 0), (0, 1)):
        weight = f32(19, 7) if b else f32(7, 19)
        m.add("Gemm", "x", weight, f32(19), transA=a, transB=b, alpha=0.5, beta=2.0, relu=True)
    m.add("Gemm", "x", f32(21, 7), f32(1, 21), transB=1)
    m.add("Gemm", "x", f32(7, 5), f32(1, 1))
    return m


def products() -> Nodes:
    """Both operands come from outside, every dim symbolic; batches broadcast."""
    m = Nodes({"a": ("b", 1, "m", "k"), "w": (3, "k", "n"), "v": ("k",), "t": ("k", "m")})
    m.add("MatMul", "a", "w", relu=True)
    m.add("MatMul", "a", "v")
    m.add("MatMul", "v", "w")
    m.add("MatMul", "v", "v")
    m.add("Gemm", "t", "t", transA=1)
    return m


def convolutions() -> Nodes:
    m = Nodes({"x": ("n", 4, "h", "w"), "line": ("n", 3, "l"), "box": ("n", 2, 5, 6, 7)})
    m.add("Conv", "x", f32(6, 4, 3, 3), f32(6), pads=[1, 1, 1, 1], relu=True)
    m.add("Conv", "x", f32(17, 4, 1, 1), f32(17))
    m.add("Conv", "x", f32(8, 4, 3, 2), strides=[2, 3], pads=[0, 1, 2, 0])
    m.add("Conv", "x", f32(5, 4, 2, 3), dilations=[2, 2], pads=[2, 2, 2, 2])
    m.add("Conv", "x", f32(6, 2, 3, 3), f32(6), group=2)
    m.add("Conv", "x", f32(4, 1, 3, 3), f32(4), group=4, pads=[1, 1, 1, 1], relu=True)
    m.add("Conv", "x", f32(8, 1, 5, 1), group=4, pads=[2, 0, 2, 0])
    m.add("Conv", "x", f32(3, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    m.add("Conv", "x", f32(3, 4, 2, 2), auto_pad="SAME_LOWER")
    m.add("Conv", "line", f32(10, 3, 5), f32(10), strides=[2], pads=[3, 1])
    m.add("Conv", "box", f32(3, 2, 2, 3, 2), pads=[0, 1, 0, 1, 0, 1])
    return m


def windows() -> Nodes:
    m = Nodes({"x": ("n", 2, "h", "w"), "line": ("n", 3, "l")})
    for op in ("MaxPool", "AveragePool"):
        m.add(op, "x", kernel_shape=[2, 2], strides=[2, 2])
        m.add(op, "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], relu=True)
        m.add(op, "x", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1], ceil_mode=1)
        m.add(op, "x", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])
        m.add(op, "line", kernel_shape=[4], strides=[3], pads=[1, 2])
    m.add("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 3])
    m.add("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    m.add("GlobalAveragePool", "x")
    m.add("GlobalMaxPool", "line")
    m.add("ReduceMean", "x", axes=[2, 3], keepdims=0)
    m.add("ReduceMax", "x", axes=[1])
    m.add("Softmax", "x", axis=-1)
    m.add("Softmax", "line", axis=1)
    return m


def recurrences() -> Nodes:
    m = Nodes({"x": ("steps", "n", 5)})
    for op, gates, hidden, ways in (("LSTM", 4, 9, 2), ("GRU", 3, 17, 1), ("RNN", 1, 3, 1)):
        shapes = [(ways, gates * hidden, 5), (ways, gates * hidden, hidden), (ways, 2 * gates * hidden)]
        direction = "bidirectional" if ways == 2 else "reverse"
        m.add(op, "x", *(f32(*s) / 2 for s in shapes), hidden_size=hidden, direction=direction)
    return m


MODELS = {
    "matmuls": matmuls,
    "products": products,
    "convolutions": convolutions,
    "windows": windows,
    "recurrences": recurrences,
}
SIZES: dict[str, list[dict[str, int]]] = {
    "matmuls": [{"m": m} for m in (1, 2, 5, 6, 7, 12, 25)],
    "products": [
        {"b": b, "m": m, "k": k, "n": n} for b, m, k, n in ((1, 1, 1, 1), (2, 6, 5, 16), (1, 7, 33, 65), (3, 13, 2, 9))
    ],
    "convolutions": [
        {"n": n, "h": h, "w": w, "l": length} for n, h, w, length in ((1, 8, 8, 16), (3, 5, 6, 9), (2, 7, 33, 5))
    ],
    "windows": [
        {"n": n, "h": h, "w": w, "l": length} for n, h, w, length in ((1, 8, 8, 16), (3, 6, 7, 9), (2, 7, 33, 8))
    ],
    "recurrences": [{"steps": steps, "n": n} for steps, n in ((1, 1), (5, 2), (3, 7), (4, 8))],
}


def inputs_of(model: Nodes, sizes: Mapping[str, int]) -> dict[str, Array]:
    return {n: f32(*(d if isinstance(d, int) else sizes[d] for d in dims)) for n, dims in model.inputs.items()}
