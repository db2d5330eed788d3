"""The layers that are measured.  In: nothing.  Out: for each name a group, a one-layer model and its FLOPs.

Convolutions stand between two cheap layers, as in a network: what comes in and goes out has the layout that kernels
want.  Taps that fall on padding count as work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.models import Model, model, node, random


@dataclass(frozen=True, slots=True)
class Layer:
    """`flops` of the launch that is measured: the one with most of them."""

    group: str
    name: str
    flops: int
    model: Callable[[], Model]


# ResNet-50, batch 1: kernel, stride, image, channels in and out.  Each shape once.
RESNET = (
    (7, 2, 224, 3, 64),
    (1, 1, 56, 64, 64), (3, 1, 56, 64, 64), (1, 1, 56, 64, 256), (1, 1, 56, 256, 64),
    (1, 1, 56, 256, 128), (3, 2, 56, 128, 128), (1, 1, 28, 128, 512), (1, 2, 56, 256, 512), (1, 1, 28, 512, 128),
    (3, 1, 28, 128, 128),
    (1, 1, 28, 512, 256), (3, 2, 28, 256, 256), (1, 1, 14, 256, 1024), (1, 2, 28, 512, 1024), (1, 1, 14, 1024, 256),
    (3, 1, 14, 256, 256),
    (1, 1, 14, 1024, 512), (3, 2, 14, 512, 512), (1, 1, 7, 512, 2048), (1, 2, 14, 1024, 2048), (1, 1, 7, 2048, 512),
    (3, 1, 7, 512, 512),
)  # fmt: skip
# MobileNetV2 and EfficientNet-B0: image, channels.
DEPTHWISE = ((112, 32), (56, 144), (28, 192), (14, 384), (14, 480), (14, 576), (7, 960), (7, 1152))
PRODUCTS = ((1024, 1024, 1024), (128, 768, 768), (128, 768, 3072))  # rows, inner, columns


def layers() -> Iterator[Layer]:
    """All of them, in the order of the table."""
    for m, k, n in PRODUCTS:
        yield Layer("gemm", f"{m}x{k}x{n}", 2 * m * k * n, partial(product, m, k, n))
    for kernel, stride, image, c, f in RESNET:
        yield Layer(
            "convolution",
            f"{kernel}x{kernel}{f' s{stride}' if stride > 1 else ''} {image}x{image} {c}->{f}",
            2 * (image // stride) ** 2 * f * kernel * kernel * c,
            partial(convolution, kernel, stride, image, c, f),
        )
    for image, c in DEPTHWISE:
        name = f"3x3 {image}x{image}x{c}"
        yield Layer("depthwise", name, 2 * image**2 * c * 9, partial(convolution, 3, 1, image, c, c, c))
    yield Layer("attention", "12 heads of 128x64", 4 * 12 * 128 * 128 * 64, partial(attention, 12, 128, 64))
    yield Layer("layer norm", "128x768", 0, partial(layer_norm, 128, 768))


def product(m: int, k: int, n: int) -> Model:
    return model([node("Gemm", "x w b")], (m, k), w=random(k, n), b=random(n))


def convolution(kernel: int, stride: int, image: int, c: int, f: int, group: int = 1) -> Model:
    nodes = [
        node("Conv", "x v", "h"),
        node("Conv", "h w b", "c", pads=[kernel // 2] * 4, strides=[stride] * 2, group=group),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r"),
    ]
    weights = {"v": random(c, 1, 1, 1), "w": random(f, c // group, kernel, kernel), "b": random(f)}
    return model(nodes, (1, 1, image, image), **weights)


def attention(heads: int, length: int, width: int) -> Model:
    """Softmax(x xᵀ) x of each head."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("MatMul", "x t", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights x"),
    ]
    return model(nodes, (heads, length, width))


def layer_norm(rows: int, length: int) -> Model:
    return model([node("LayerNormalization", "x s b", axis=-1)], (rows, length), s=random(length), b=random(length))
