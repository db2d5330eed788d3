"""ONNX operators that hand an operand through, clip it, or hold a constant: no operation of their own.

Identity is its operand.  Clip is graph.max with the lower bound, then
graph.min with the upper one, where each is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.arithmetic import Max, Min


@onnx_import("Identity")
def _identity(node: OnnxNode) -> Sequence[Value]:
    return [node.operand(0)]


@onnx_import("Clip", since=6)
def _clip_6(node: OnnxNode) -> Sequence[Value]:
    dtype = node.tensor(0).dtype
    bounds = []
    for name in ("min", "max"):
        given = name in node.attribute_names
        bounds.append(node.add_constant(np.array(node.attribute(name, 0.0), dtype.numpy)) if given else None)
    return [_clipped(node, *bounds)]


@onnx_import("Clip", since=11)
def _clip_11(node: OnnxNode) -> Sequence[Value]:
    for number in (1, 2):
        if node.input(number) is not None and node.tensor(number).rank != 0:
            raise node.fail(f"a bound is {node.tensor(number)}, expected rank 0")
    return [_clipped(node, node.input(1), node.input(2))]


def _clipped(node: OnnxNode, low: Value | None, high: Value | None) -> Value:
    found = node.operand(0)
    if low is not None:
        found = node.add(Max(found, low))
    return found if high is None else node.add(Min(found, high))


@onnx_import("Constant")
def _constant(node: OnnxNode) -> Sequence[Value]:
    given = [n for n in node.attribute_names if n.startswith("value")]
    if len(given) != 1:
        raise node.fail(f"{len(given)} values, expected one")
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if given[0] == "value":
        return [node.add_constant(np.asarray(node.attribute("value", np.zeros(0))))]
    if given[0] not in kinds:
        raise node.unsupported(f"the constant is a {given[0]}, expected numbers")
    return [node.add_constant(np.array(node.attribute(given[0], ()), kinds[given[0]]))]
