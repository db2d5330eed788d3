"""Small models of one operator or a few, each about what one kernel is.  In: a name.  Out: an ONNX model, its inputs.

Sizes are such that the kernel's inner loops dominate, and that no dim is a multiple of every tile: tails count too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.models import Model, model, node, random


def _gemm() -> Model:
    return model([node("Gemm", "x w b")], (49, 200), w=random(200, 136), b=random(136))


def _gemv() -> Model:
    return model([node("MatMul", "x w")], (1, 384), w=random(384, 520))


def _conv(channels: int, filters: int, kernel: int, **attributes: Any) -> Model:
    group = attributes.get("group", 1)
    weights = {"w": random(filters, channels // group, kernel, kernel), "b": random(filters)}
    pads = [kernel // 2] * 4
    nodes = [node("Conv", "x w b", "c", pads=pads, **attributes), node("Relu", "c")]
    return model(nodes, (1, channels, 15, 15), **weights)


def _softmax() -> Model:
    return model([node("Softmax", "x", axis=-1)], (48, 130))


def _layer_norm() -> Model:
    return model([node("LayerNormalization", "x s b", axis=-1)], (32, 196), s=random(196), b=random(196))


def _silu() -> Model:
    return model([node("Sigmoid", "x", "s"), node("Mul", "x s")], (40, 250))


def _attention() -> Model:
    """Softmax(x xᵀ) x for two heads of 40 positions."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("MatMul", "x t", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights x"),
    ]
    return model(nodes, (2, 40, 32))


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
