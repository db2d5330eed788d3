"""ONNX ai.onnx.ml.Binarizer, ArrayFeatureExtractor: features cut at a threshold, and some of them alone."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.gather import Gather


@onnx_import("Binarizer", domain="ai.onnx.ml")
def _binarizer(node: OnnxNode) -> Sequence[Value]:
    x = Term(node, node.operand(0))
    return [x.like(float(node.attribute("threshold", 0.0))).compare("lt", x).cast(x.dtype).value]


@onnx_import("ArrayFeatureExtractor", domain="ai.onnx.ml")
def _array_feature_extractor(node: OnnxNode) -> Sequence[Value]:
    x, places = Term(node, node.operand(0)), Term(node, node.operand(1))
    if x.rank < 1:
        raise node.fail(f"found {x.type}, expected rank 1 or more")
    rows = x if x.rank > 1 else x.reshape(ONE, x.dims[0])
    return [node.add(Gather(rows.value, places.reshape(places.type.elements).value, rows.rank - 1))]
