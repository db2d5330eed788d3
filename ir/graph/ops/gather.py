"""graph.gather, graph.gather_elements, graph.gather_nd: elements at indices that are data.

    %y = graph.gather %table, %ids {axis = 0} : f32[n, seq, 768]         // y[b, s, j] = table[ids[b, s], j]
    %y = graph.gather_elements %x, %ids {axis = 1} : f32[n, 3]           // y[i, j] = x[i, ids[i, j]]
    %y = graph.gather_nd %x, %ids {batch_dims = 1} : f32[n, 5]           // y[i, j] = x[i, ids[i, 0], j]

Negative indices count from the end.  One that is out of range is an error when the model runs.  Indices of Gather that
are known while compiling, as numbers or as formulas, need no such operation: evenly spaced ones become one graph.slice,
a few others a graph.concat of slices.  Two constants give a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import OnnxForm, op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, DimCheck, Index, LookingUp, PullBuilder, Sampler, counted, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.graph.ranks import result_rank
from headrace.ir.graph.sampling import along_axis, pick
from headrace.ir.types import F32, I64, TensorType, Type

MOST_SLICES = 64  # a gather of more indices than this, in no regular order, looks them up
MOST_FOLDED = 2**14  # elements of a constant that may be larger than what it is made of


class _Gathering(LookingUp):
    """What the three share: an operand, and integers that say where in it."""

    x: Value
    indices: Value

    @property
    def looked_up(self) -> Sequence[Value]:
        return (self.indices,)

    def kinds(self) -> tuple[TensorType, TensorType]:
        """Types of operand and indices.  Raises VerifyError unless indices are integers."""
        x, indices = tensor(self.x), tensor(self.indices)
        if not indices.dtype.is_integer:
            raise self.fail(f"indices are {indices}, expected integers")
        return x, indices

    def axis_in(self, axis: int, rank: int) -> int:
        if not 0 <= axis < rank:
            raise self.fail(f"axis is {axis}, expected 0 to {rank - 1}")
        return axis


@op("graph.gather")
class Gather(_Gathering):
    """Slices of x at `indices` along `axis`; the dims of the indices take the axis's place."""

    x: Value
    indices: Value
    axis: int

    def infer(self) -> Sequence[Type]:
        x, indices = self.kinds()
        axis = self.axis_in(self.axis, x.rank)
        return [x.with_dims((*x.dims[:axis], *indices.dims, *x.dims[axis + 1 :]))]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        axis, end = self.axis, self.axis + tensor(self.indices).rank
        place = b.lookup(self.indices, index[axis:end], tensor(self.x).dims[axis])
        return b.read(self.x, (*index[:axis], place, *index[end:]))

    def reference(self, *operands: Array) -> Array:
        x, indices = operands
        return np.take(x, counted(indices, x.shape[self.axis]), self.axis)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Gather", self.x, self.indices, axis=self.axis)

    @classmethod
    def sample(cls, sampler: Sampler) -> Gather:
        kind, axis, size = along_axis(sampler)
        x = sampler.tensor(kind)
        return cls(x, _sample_indices(sampler, sampler.dims(pick(sampler, 0, 2)), size), axis)


@op("graph.gather_elements", onnx=[OnnxForm("GatherElements", since=11)])
class GatherElements(_Gathering):
    """The element of x at the index of the result, but along `axis` at the index that stands there."""

    x: Value
    indices: Value
    axis: int = 0

    def infer(self) -> Sequence[Type]:
        x, indices = self.kinds()
        if x.rank != indices.rank or not x.rank:
            raise self.fail(f"operands are {x} and {indices}, expected equal ranks above 0")
        if not -x.rank <= self.axis < x.rank:
            raise self.fail(f"axis is {self.axis}, expected {-x.rank} to {x.rank - 1}")
        return [x.with_dims(indices.dims)]

    def checks(self) -> Sequence[DimCheck]:
        x, indices = self.kinds()
        message = f"indices of {indices} do not lie within {x} in every dim but the axis"
        pairs = [p for i, p in enumerate(zip(x.dims, indices.dims, strict=True)) if i != self.axis % x.rank]
        return [DimCheck(has - wants, message) for has, wants in pairs if has != wants]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        axis = self.axis % len(index)
        place = b.lookup(self.indices, index, tensor(self.x).dims[axis])
        return b.read(self.x, (*index[:axis], place, *index[axis + 1 :]))

    def reference(self, *operands: Array) -> Array:
        x, indices = operands
        places: list[Array] = list(np.indices(indices.shape, sparse=True))
        axis = self.axis % x.ndim
        places[axis] = counted(indices, x.shape[axis])
        return np.asarray(x[tuple(places)])

    @classmethod
    def sample(cls, sampler: Sampler) -> GatherElements:
        kind, axis, size = along_axis(sampler)
        x = sampler.tensor(kind)
        (taken,) = sampler.dims(1)
        indices = _sample_indices(sampler, (*kind.dims[:axis], taken, *kind.dims[axis + 1 :]), size)
        return cls(x, indices, axis - kind.rank if pick(sampler, 0, 1) else axis)


@op("graph.gather_nd")
class GatherND(_Gathering):
    """Slices of x at indices for several dims at once: those that stand in the last dim of `indices`.

    The first `batch_dims` dims of both go side by side.
    """

    x: Value
    indices: Value
    batch_dims: int = 0

    def infer(self) -> Sequence[Type]:
        x, indices = self.kinds()
        if not indices.rank or not 0 <= self.batch_dims < min(indices.rank, x.rank):
            raise self.fail(f"batch_dims is {self.batch_dims} for {x} and {indices}, expected it below both ranks")
        count = indices.dims[-1]
        if not count.is_constant or not 0 < count.value <= x.rank - self.batch_dims:
            raise self.fail(f"the last dim of {indices} is {count}, expected 1 to {x.rank - self.batch_dims}")
        return [x.with_dims((*indices.dims[:-1], *x.dims[self.batch_dims + count.value :]))]

    def checks(self) -> Sequence[DimCheck]:
        x, indices = self.kinds()
        pairs = zip(x.dims[: self.batch_dims], indices.dims[: self.batch_dims], strict=True)
        message = f"the first {self.batch_dims} dims of {x} and {indices} are not equal"
        return [DimCheck(d, message) for a, b in pairs if a != b for d in (a - b, b - a)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        x, indices = self.kinds()
        outer = indices.rank - 1
        places = [
            b.lookup(self.indices, (*index[:outer], Dim.constant(i)), x.dims[self.batch_dims + i])
            for i in range(indices.dims[-1].value)
        ]
        return b.read(self.x, (*index[: self.batch_dims], *places, *index[outer:]))

    def reference(self, *operands: Array) -> Array:
        x, indices = operands
        batch = np.indices((*indices.shape[:-1],), sparse=True)[: self.batch_dims]
        extents = x.shape[self.batch_dims :]
        places = [counted(indices[..., i], extents[i]) for i in range(indices.shape[-1])]
        return np.asarray(x[(*batch, *places)])

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("GatherND", self.x, self.indices, batch_dims=self.batch_dims)

    @classmethod
    def sample(cls, sampler: Sampler) -> GatherND:
        batch, count = sampler.dims(pick(sampler, 0, 1)), pick(sampler, 1, 2)
        size = pick(sampler, 1, 4)
        x = sampler.tensor(
            TensorType(F32, (*batch, *(Dim.constant(size),) * count, *sampler.dims(pick(sampler, 0, 1))))
        )
        dims = (*batch, *sampler.dims(pick(sampler, 0, 1)), Dim.constant(count))
        return cls(x, _sample_indices(sampler, dims, size), len(batch))


def _sample_indices(sampler: Sampler, dims: tuple[Dim, ...], size: int) -> Value:
    # Integers are four times what is drawn, rounded.
    return sampler.tensor(TensorType(I64, dims), -size / 4, (size - 1) / 4)


@onnx_import("GatherND", since=11)
def _gather_nd(node: OnnxNode) -> Sequence[Value]:
    """How many dims the indices are for, if it is no number, follows from the rank of the result."""
    x, indices, batch_dims = node.tensor(0), node.tensor(1), node.attribute("batch_dims", 0)
    if not indices.rank:
        raise node.fail(f"the indices are {indices}, expected rank 1 or more")
    rank = result_rank(node, indices.rank - 1 + x.rank - batch_dims, -indices.dims[-1])
    found = for_dims(node, indices.rank - 1 + x.rank - batch_dims - rank)
    return [node.add(GatherND(node.operand(0), found, batch_dims))]


def for_dims(node: OnnxNode, count: int) -> Value:
    """The indices, as many as that in the last dim."""
    return reshaped(node, node.operand(1), (*node.tensor(1).dims[:-1], Dim.constant(count)))


@onnx_import("Gather")
def _gather(node: OnnxNode) -> Sequence[Value]:
    """Indices that are known: one slice where they are evenly spaced, else a concat of single ones."""
    x, kind = node.operand(0), node.tensor(0)
    axis = node.axis(node.attribute("axis", 0), kind.rank)
    folded = _folded(node, axis)
    if folded is not None:
        return [node.add_constant(folded)]
    indices = node.shape_value(1)
    places = None if indices is None else [_counted(node, i, kind.dims[axis]) for i in indices]
    known = [] if places is None else [p for p in places if p is not None]
    if places is None or len(known) < len(places) or not known:
        return [node.add(Gather(x, node.operand(1), axis))]
    step = _even_step(known)
    if step is not None:
        found = sliced(node, x, axis, known[0], Dim.constant(len(known)), step)
    elif len(known) <= MOST_SLICES:
        found = node.add(Concat(tuple(sliced(node, x, axis, p, ONE) for p in known), axis))
    else:
        return [node.add(Gather(x, node.operand(1), axis))]
    return [reshaped(node, found, (*kind.dims[:axis], *node.tensor(1).dims, *kind.dims[axis + 1 :]))]


def _folded(node: OnnxNode, axis: int) -> Array | None:
    """The elements, where operand and indices are constants and the result is no larger than both, or small."""
    x, indices = node.constant(0), node.constant(1)
    if x is None or indices is None or not x.shape[axis]:
        return None
    if x.size // x.shape[axis] * indices.size > max(x.size + indices.size, MOST_FOLDED):
        return None
    try:
        return np.take(x, indices, axis)
    except IndexError:
        raise node.fail(f"an index lies outside of the dim of {x.shape[axis]}") from None


def _counted(node: OnnxNode, index: Dim, dim: Dim) -> Dim | None:
    """An index from the front, None where it may be negative or not; that it lies inside is for the slice to check."""
    from_front = index + dim if index.is_constant and index.value < 0 else index
    beyond = from_front - dim
    if (beyond.is_constant and beyond.value >= 0) or (from_front.is_constant and from_front.value < 0):
        raise node.fail(f"index {index} is outside of the dim of {dim}")
    if not index.is_constant and not node.is_nonnegative(index):
        return None
    return from_front


def _even_step(places: Sequence[Dim]) -> int | None:
    """The step from one place to the next where it is always the same number."""
    if len(places) < 2:
        return 1 if places else None
    steps = {b - a for a, b in pairwise(places)}
    only = steps.pop()
    return only.value if not steps and only.is_constant and only.value else None
