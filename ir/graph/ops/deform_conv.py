"""ONNX DeformConv: a convolution whose taps are moved by offsets that are data.

    y[n, m, o] = b[m] + sum over c, k of w[m, c, k] * mask[n, k, o] * x[n, c, place]
    place = o * stride - pad + k * dilation + offset[n, k, o]

An element between others is interpolated linearly, one outside is 0.  The elements under all taps are sampled first
(`sampled` of sample_at), then multiplied with the weights as matrices, a product a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.sample_at import sampled
from headrace.ir.graph.ops.slice import sliced


@onnx_import("DeformConv", since=19)
def _deform_conv(node: OnnxNode) -> Sequence[Value]:
    x, w, offset = (Term(node, node.operand(i)) for i in range(3))
    rank = x.rank - 2
    if rank < 1 or not x.rank == w.rank == offset.rank:
        raise node.fail(f"inputs are {x.type}, {w.type} and {offset.type}, expected one rank of 3 or more")
    if not all(d.is_constant for d in (x.dims[1], *w.dims)):
        raise node.unsupported(f"weights are {w.type} for {x.type}, expected numbers but for batch and places")
    channels, kernel = x.dims[1].value, [d.value for d in w.dims[2:]]
    ones: tuple[int, ...] = (1,) * rank
    strides, dilations = node.attribute("strides", ones), node.attribute("dilations", ones)
    group, moved = int(node.attribute("group", 1)), int(node.attribute("offset_group", 1))
    pads: tuple[int, ...] = node.attribute("pads", (0,) * 2 * rank)
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise node.fail(f"strides, dilations and pads have {len(strides)}, {len(dilations)} and {len(pads)} elements")
    fit = group > 0 and moved > 0 and not (channels % group or channels % moved or w.dims[0].value % group)
    if not fit or w.dims[1].value * group != channels:
        raise node.fail(f"weights are {w.type} for {x.type}, group is {group}, offset_group {moved}: they do not fit")
    taps, (batch, places) = prod(kernel), (x.dims[0], offset.dims[2:])
    offset = offset.reshape(batch, moved, taps, rank, *places)
    mask = Term(node, node.operand(4)).reshape(batch, moved, taps, *places) if node.input(4) is not None else None
    extents = [x.of(Formulas((d,), ())).cast(x.dtype) for d in x.dims[2:]]

    def inside(p: Term, dim: int) -> tuple[Term, Term | None]:
        legal = p.at_least(0.0).at_most(extents[dim] - 1.0)
        return legal, p.compare("eq", legal)

    def part(t: Term, axis: int, start: int, size: int) -> Term:
        return Term(node, sliced(node, t.value, axis, Dim.constant(start), Dim.constant(size)))

    def tap(dim: int) -> Term:
        """Where a dim's taps lie for every place, without offsets: [taps, places]."""
        steps = np.indices(kernel)[dim].reshape(taps, *ones) * dilations[dim] - pads[dim]
        line = x.indices(places[dim]).reshape(*(places[dim] if d == dim else 1 for d in range(rank)))
        return (line * strides[dim] + line.constant(steps)).cast(x.dtype)

    columns = []
    for g in range(moved):
        own = part(offset, 1, g, 1).reshape(batch, taps, rank, *places)
        at = [part(own, 2, d, 1).reshape(batch, taps, *places) + tap(d) for d in range(rank)]
        found = sampled(part(x, 1, g * channels // moved, channels // moved), at, "linear", inside)
        if mask is not None:
            found = found * part(mask, 1, g, 1).reshape(batch, taps, *places, 1)
        columns.append(found.value)
    column = x.of(Concat(tuple(columns), rank + 2)) if moved > 1 else Term(node, columns[0])
    count = prod(places, start=Dim.constant(1))
    column = column.reshape(batch, taps, count, channels).transpose(0, 2, 3, 1)  # [batch, places, channels, taps]
    inner, outer = channels // group, w.dims[0].value // group
    results = []
    for g in range(group):
        left = part(column, 2, g * inner, inner).reshape(batch, count, inner * taps)
        right = part(w, 0, g * outer, outer).reshape(outer, inner * taps).transpose(1, 0)
        results.append((left @ right).value)
    y = x.of(Concat(tuple(results), 2)) if group > 1 else Term(node, results[0])
    y = y if node.input(3) is None else y + Term(node, node.operand(3))
    return [y.transpose(0, 2, 1).reshape(batch, w.dims[0], *places).value]
