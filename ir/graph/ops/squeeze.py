"""ONNX Squeeze and Unsqueeze: graph.reshape, or graph.reshape_dynamic where the axes are data."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.graph.data_axes import axes_mask, count, inserted_dims, kept_dims, reshaped_as
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.ranks import result_rank


@onnx_import("Squeeze")
def _squeeze(node: OnnxNode) -> Sequence[Value]:
    x, kind = node.operand(0), node.tensor(0)
    if node.known_numbers(1) is None:
        rank = result_rank(node, kind.rank, -count(node, 1))
        dims = kept_dims(node, kind.dims, axes_mask(node, 1, kind.rank), rank)
        return [reshaped_as(node, x, dims).value]
    given = node.axes(1)
    if given is None:
        unknown = [d for d in kind.dims if not d.is_constant]
        if unknown:
            raise node.unsupported(f"no axes, and dim {unknown[0]} may or may not be 1, so the rank is data")
        return [reshaped(node, x, [d for d in kind.dims if d != ONE])]
    dropped = [node.axis(a, kind.rank) for a in given]
    wide = [kind.dims[a] for a in dropped if kind.dims[a].is_constant and kind.dims[a] != ONE]
    if wide:
        raise node.fail(f"squeezes a dim of {wide[0]} in {kind}, expected 1")
    return [reshaped(node, x, [d for i, d in enumerate(kind.dims) if i not in dropped])]


@onnx_import("Unsqueeze")
def _unsqueeze(node: OnnxNode) -> Sequence[Value]:
    x, kind = node.operand(0), node.tensor(0)
    if node.known_numbers(1) is None:
        rank = result_rank(node, kind.rank, count(node, 1))
        return [reshaped_as(node, x, inserted_dims(node, kind.dims, axes_mask(node, 1, rank))).value]
    given = node.axes(1)
    if given is None:
        raise node.fail("axes are missing")
    places = [node.axis(a, kind.rank + len(given)) for a in given]
    if len(set(places)) < len(places):
        raise node.fail(f"axes {list(given)} name a dim twice")
    kept = iter(kind.dims)
    return [reshaped(node, x, [ONE if i in places else next(kept) for i in range(kind.rank + len(given))])]
