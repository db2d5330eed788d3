"""ONNX Gemm: alpha * a' @ b' + beta * c, a' and b' transposed or not.

It becomes transpose, matmul, mul and add, so that the sum fuses into the product like any other epilogue; the
factors are left out where they are 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.graph.families import tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.arithmetic import Add, Mul
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.transpose import Transpose


@onnx_import("Gemm", since=7)
def _gemm(node: OnnxNode) -> Sequence[Value]:
    product = node.add(MatMul(_matrix(node, 0, "transA"), _matrix(node, 1, "transB")))
    found = _scaled(node, product, node.attribute("alpha", 1.0))
    added, beta = node.input(2), node.attribute("beta", 1.0)
    if added is not None and beta != 0.0:
        found = node.add(Add(found, _scaled(node, added, beta)))
    return [found]


def _matrix(node: OnnxNode, number: int, flag: str) -> Value:
    if node.tensor(number).rank != 2:
        raise node.fail(f"input {number} is {node.tensor(number)}, expected rank 2")
    value = node.operand(number)
    return node.add(Transpose(value, (1, 0))) if node.attribute(flag, 0) else value


def _scaled(node: OnnxNode, value: Value, factor: float) -> Value:
    if factor == 1.0:
        return value
    return node.add(Mul(value, node.add_constant(np.array(factor, tensor(value).dtype.numpy))))
