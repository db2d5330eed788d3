"""ONNX ConstantOfShape: one number everywhere, under dims that are known, are formulas, or are data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.graph.families import tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.expand import ExpandDynamic
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.reshape import shape_operand
from headrace.ir.types import dtype_of


@onnx_import("ConstantOfShape", since=9)
def _constant_of_shape(node: OnnxNode) -> Sequence[Value]:
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    if value.size != 1:
        raise node.fail(f"the value has {value.size} elements, expected 1")
    dims = node.shape_value(0)
    if dims is not None:
        return [node.add(Fill(dims, value.reshape(()).item(), dtype_of(value)))]
    shape = shape_operand(node, 0)
    one = node.add(Fill((), value.reshape(()).item(), dtype_of(value)))
    symbols = tuple(node.symbol(f"{node.name}_{i}") for i in range(tensor(shape).dims[0].value))
    return [node.add(ExpandDynamic(one, shape, symbols))]
