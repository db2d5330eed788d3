"""graph.max_pool_indices: where the largest element of each window stands; ONNX MaxUnpool puts it back.

    %i = graph.max_pool_indices %x {kernel = [2, 2], strides = [2, 2], dilations = [1, 1], before = [0, 0],
        after = [0, 0], ceil = false, column_major = false} : i64[n, 64, 28, 28]

The index counts all elements of %x row-major, in [batch, channels, spatial...] whatever the layout; with `column_major`
the spatial dims count from the first one.  The first of equal elements counts, and a NaN beats every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.families import Array, Index, PullBuilder, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO, linear
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.pool import MaxPool, Pool, max_pool_fields, sample_fields
from headrace.ir.graph.ops.reduce import lowest
from headrace.ir.graph.ops.scatter import ScatterElements
from headrace.ir.graph.ranking import NONE_YET, Ranking
from headrace.ir.graph.sampling import build, chance
from headrace.ir.graph.windows import numpy_windows
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import I64, TensorType, Type


@op("graph.max_pool_indices")
class MaxPoolIndices(Pool):
    """The index of the largest element of each window; -1 where all of it is padding."""

    x: Value
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    ceil: bool = False
    column_major: bool = False
    channels_last: bool = False

    def infer(self) -> Sequence[Type]:
        (kind,) = super().infer()
        assert isinstance(kind, TensorType)
        return [kind.with_dtype(I64)]

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        dtype = tensor(self.x).dtype
        return [b.constant(lowest(dtype), dtype), b.constant(NONE_YET, I64)]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        parts = zip(self.windows, index[self._spatial], reduced, strict=True)
        places = tuple(window.place(o, k) for window, o, k in parts)
        channel = -1 if self.channels_last else 1
        dims = (tensor(self.x).dims[0], tensor(self.x).dims[channel], *tensor(self.x).dims[self._spatial])
        bounds = [c for p, d in zip(places, dims[2:], strict=True) for c in (p, d - 1 - p)]
        element = self.element(b, index, reduced, lowest(tensor(self.x).dtype))
        found = b.index(self._place((index[0], index[channel], *places), dims))
        if not all(w.stays_inside for w in self.windows):
            found = b.select(b.holds(*bounds), found, b.constant(NONE_YET, I64))
        return self.combine(b, state, [element, found])

    def _place(self, index: Index, dims: Index) -> Dim:
        if not self.column_major:
            return linear(index, dims)
        spatial = linear(index[:1:-1], dims[:1:-1])
        return linear(index[:2], dims[:2]) * prod(dims[2:], start=ONE) + spatial

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        ranking = Ranking(largest=True, nan_first=True)
        return ranking.first(b, (left[0], left[1]), (right[0], right[1]))

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        return state[1]

    def reference(self, *operands: Array) -> Array:
        if not self.channels_last:
            return self.folded(operands[0])
        return np.ascontiguousarray(np.moveaxis(self.folded(np.moveaxis(operands[0], -1, 1)), 1, -1))

    def folded(self, x: Array) -> Array:
        order = np.arange(x.size).reshape(x.shape)
        if self.column_major:
            backwards = (0, 1, *range(x.ndim - 1, 1, -1))
            order = np.arange(x.size).reshape([x.shape[a] for a in backwards]).transpose(backwards)
        best = np.full(self._outs(x), lowest(tensor(self.x).dtype), x.dtype)
        found = np.full(best.shape, NONE_YET)
        windows = zip(
            numpy_windows(x, self.windows, best.dtype.type(lowest(tensor(self.x).dtype))),
            numpy_windows(order, self.windows, NONE_YET),
            strict=True,
        )
        for (_, part), (_, place) in windows:
            equal = (part == best) | (np.isnan(part) & np.isnan(best))
            wins = (part > best) | (np.isnan(part) & ~np.isnan(best)) | (equal & (place < found)) | (found < 0)
            takes = wins & (place >= 0)
            best, found = np.where(takes, part, best), np.where(takes, place, found)
        return found

    @classmethod
    def sample(cls, sampler: Sampler) -> MaxPoolIndices:
        last = chance(sampler, 0.5)
        return build(cls, *sample_fields(sampler, last), chance(sampler, 0.5), last)


@onnx_import("MaxPool")
def _max_pool(node: OnnxNode) -> Sequence[Value]:
    fields = max_pool_fields(node)
    found = [node.add(build(MaxPool, node.operand(0), *fields))]
    if node.wants(1):
        column_major = bool(node.attribute("storage_order", 0))
        found.append(node.add(build(MaxPoolIndices, node.operand(0), *fields, column_major=column_major)))
    return found


@onnx_import("MaxUnpool", since=9)
def _max_unpool(node: OnnxNode) -> Sequence[Value]:
    """Zeros, and each element at its index among them."""
    x, indices = Term(node, node.operand(0)), Term(node, node.operand(1))
    kernel: tuple[int, ...] = node.attribute("kernel_shape", ())
    rank = len(kernel)
    strides, pads = node.attribute("strides", (1,) * rank), node.attribute("pads", (0,) * 2 * rank)
    if x.rank != rank + 2 or len(strides) != rank or len(pads) != 2 * rank:
        raise node.fail(
            f"{rank} dims of a kernel, {len(strides)} strides and {len(pads)} pads for {x.type}, expected as many as"
            " spatial dims, and two pads each"
        )
    spatial = [
        (d - 1) * stride + size - pads[i] - pads[rank + i]
        for i, (d, stride, size) in enumerate(zip(x.dims[2:], strides, kernel, strict=True))
    ]
    dims = (*x.dims[:2], *spatial)
    zeros = x.of(Fill((prod(dims, start=ONE),), 0, x.dtype))
    flat = (prod(x.dims, start=ONE),)
    found = x.of(ScatterElements(zeros.value, indices.reshape(*flat).value, x.reshape(*flat).value, 0))
    found = found.reshape(*dims)
    if node.input(2) is None:
        return [found.value]
    wanted = node.shape_value(2)  # the indices are for the dims without it; zeros fill the rest
    if wanted is None:
        raise node.unsupported("the output shape is data, expected integers that are known while compiling")
    if len(wanted) != x.rank:
        raise node.fail(f"the output shape has {len(wanted)} dims, expected {x.rank}")
    after = tuple(w - d for w, d in zip(wanted, dims, strict=True))
    return [node.add(Pad(found.value, (ZERO,) * len(dims), after))]
