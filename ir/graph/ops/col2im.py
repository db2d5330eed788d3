"""ONNX Col2Im: blocks added up to the image that they were cut from.

It is a transposed convolution whose weights put element k of a block at its place k, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.conv_transpose import ConvTranspose
from headrace.ir.graph.ops.pad import Pad


@onnx_import("Col2Im", since=18)
def _col2im(node: OnnxNode) -> Sequence[Value]:
    x, image, block = Term(node, node.operand(0)), node.shape_value(1), node.shape_value(2)
    if image is None or block is None or not all(d.is_constant for d in block) or not x.dims[1].is_constant:
        raise node.unsupported("image shape, block shape or channels are data, expected them known while compiling")
    kernel, rank = [d.value for d in block], len(block)
    strides, dilations = (node.attribute(n, (1,) * rank) for n in ("strides", "dilations"))
    pads = node.attribute("pads", (0,) * 2 * rank)
    size = prod(kernel)
    channels = x.dims[1].value // size
    spatial = [
        (d + pads[i] + pads[rank + i] - (k - 1) * dilations[i] - 1) // strides[i] + 1
        for i, (d, k) in enumerate(zip(image, kernel, strict=True))
    ]
    weights = np.tile(np.eye(size).reshape(size, 1, *kernel), (channels, 1, *[1] * rank))
    none = (ZERO,) * rank
    blocks, placed = x.reshape(x.dims[0], x.dims[1], *spatial), x.constant(weights)
    whole = x.of(
        ConvTranspose(blocks.value, placed.value, None, tuple(strides), tuple(dilations), none, none, none, channels)
    )
    before = tuple(Dim.constant(-p) for p in pads[:rank])
    after = tuple(d - have - b for d, have, b in zip(image, whole.dims[2:], before, strict=True))
    return [node.add(Pad(whole.value, (ZERO, ZERO, *before), (ZERO, ZERO, *after)))]
