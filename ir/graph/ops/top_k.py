"""graph.top_k: the largest or smallest elements along an axis, in order, and where they stand.

    %values, %indices = graph.top_k %x {k = 5, axis = 1, largest = true} : f32[n, 5], i64[n, 5]
    %y = graph.take_dynamic %x, %count {axis = 1, symbol = "k"} : f32[n, k]

Of equal elements the one with the lower index comes first.  A NaN is larger than any number.  Each element is the
first of those behind the one before it, so that the work grows with k times the dim: where k is not small, ONNX TopK
becomes the beginning of a `graph.argsort` instead, taken by `take_dynamic` where k is data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, DataDims, DimCheck, DimRead, Index, Movement, OwnKernel, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.argsort import Argsort
from headrace.ir.graph.ops.gather import GatherElements
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.graph.ranking import NONE_YET, Ranking, is_none
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import KernelWriter, at
from headrace.ir.types import F32, I32, I64, TensorType, Type

FEW = 16  # more than these are sorted


@op("graph.top_k")
class TopK(OwnKernel):
    """The first k elements along `axis` in descending order, or ascending; and their indices."""

    x: Value
    k: Dim
    axis: int
    largest: bool = True

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if x.dtype.kind == "bool":
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        self.check_axis(self.axis, x)
        self.refuse_broken()
        values = x.with_dims((*x.dims[: self.axis], self.k, *x.dims[self.axis + 1 :]))
        return [values, values.with_dtype(I64)]

    def checks(self) -> Sequence[DimCheck]:
        dim = tensor(self.x).dims[self.axis]
        message = f"k is {self.k} for a dim of {dim}"
        return [c for c in (DimCheck(dim - self.k, message), DimCheck(self.k, message)) if c.formula != 0]

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        """For each row, in scratch, the element found last; a loop finds the next."""
        x = tensor(self.x)
        ranking = Ranking(self.largest, nan_first=self.largest)
        source, values, indices = (buffers[v] for v in (self.x, *self.results))
        dims = (ONE, *x.dims[: self.axis], *x.dims[self.axis + 1 :])
        with w.tasks(**{f"o{i}": d for i, d in enumerate(dims)}) as (_, *index):
            before, after = index[: self.axis], index[self.axis :]
            value, place = w.scratch(x.dtype, (ONE,), "value"), w.scratch(I64, (ONE,), "place")
            zero = Dim.constant(0)
            last = [at(value, zero), at(place, zero)]
            w.map([], [], last, lambda b: [b.constant(0, x.dtype), b.constant(NONE_YET, I64)])
            with w.loop("t", self.k) as t:
                j = w.axis("j", x.dims[self.axis], "reduction")
                here = Dim.symbol(j.name)

                def step(b: ScalarBuilder, *xs: Value) -> list[Value]:
                    element, old, old_place, best, best_place = xs
                    found = b.index(here)
                    behind = b.bit_or(
                        is_none(b, old_place), ranking.precedes(b, (old, old_place), (element, found))
                    )
                    better = ranking.improves(b, (element, found), (best, best_place))
                    takes = b.bit_and(behind, better)
                    return [b.select(takes, element, best), b.select(takes, found, best_place)]

                def combine(b: ScalarBuilder, *xs: Value) -> list[Value]:
                    return ranking.first(b, (xs[0], xs[1]), (xs[2], xs[3]))

                w.reduce(
                    [j],
                    [at(source, *before, j, *after), *last],
                    [],
                    [*(at(v, *before, t, *after) for v in (values, indices))],
                    [x.dtype, I64],
                    (
                        lambda b: [b.constant(0, x.dtype), b.constant(NONE_YET, I64)],
                        step,
                        combine,
                        lambda b, *state: list(state),
                    ),
                )
                found = [at(v, *before, t, *after) for v in (values, indices)]
                w.map([], found, last, lambda b, *xs: list(xs))

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        x = np.moveaxis(operands[0], self.axis, -1)
        order = np.argsort(x, -1, kind="stable")
        if self.largest:  # stable from the other end, so that equal elements keep their order
            order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
        order = order[..., : self.k.value]
        found = np.take_along_axis(x, order, -1)
        return np.moveaxis(found, -1, self.axis), np.moveaxis(order, -1, self.axis).astype(np.int64)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("TopK", self.x, w.integers([self.k]), outputs=2, axis=self.axis, largest=self.largest)

    @classmethod
    def sample(cls, sampler: Sampler) -> TopK:
        rank = pick(sampler, 1, 3)
        axis, size = pick(sampler, 0, rank - 1), pick(sampler, 1, 9)
        dims = sampler.dims(rank)
        dtype = I32 if chance(sampler, 0.5) else F32
        x = sampler.tensor(TensorType(dtype, (*dims[:axis], Dim.constant(size), *dims[axis + 1 :])), -0.8, 0.8)
        return cls(x, Dim.constant(pick(sampler, 0, size)), axis, chance(sampler, 0.5))


@op("graph.take_dynamic")
class TakeDynamic(DataDims, Movement):
    """The first elements of x along `axis`, as many as `count` says."""

    x: Value
    count: Value
    axis: int
    symbol: str

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if tensor(self.count) != TensorType(I64, (ONE,)) or not 0 <= self.axis < x.rank:
            raise self.fail(
                f"count is {self.count.type} and axis {self.axis} for {x}, expected i64[1] and an axis of it"
            )
        return [x.with_dims((*x.dims[: self.axis], Dim.symbol(self.symbol), *x.dims[self.axis + 1 :]))]

    def dim_reads(self) -> Sequence[DimRead]:
        return [DimRead(self.symbol, self.count, 0, 0)]

    def checks(self) -> Sequence[DimCheck]:
        dim = tensor(self.x).dims[self.axis]
        return [DimCheck(dim - Dim.symbol(self.symbol), f"more than the dim of {dim} are taken")]

    def source(self, index: Index) -> Index:
        return index

    def reference(self, *operands: Array) -> Array:
        return np.take(operands[0], np.arange(int(operands[1][0])), self.axis)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        zero, axis = w.constant(np.zeros(1, np.int64)), w.constant(np.array([self.axis]))
        return w.node("Slice", self.x, zero, self.count, axis)

    @classmethod
    def sample(cls, sampler: Sampler) -> TakeDynamic:
        size = pick(sampler, 1, 4)
        x = sampler.tensor(TensorType.of(F32, 2, size, 3))
        return cls(x, sampler.constant(np.array([pick(sampler, 0, size)])), 1, sampler.symbol())


@onnx_import("TopK")
def _top_k_1(node: OnnxNode) -> Sequence[Value]:
    axis = node.axis(node.attribute("axis", -1), node.tensor(0).rank)
    return _first(node, Dim.constant(node.attribute("k", 1)), axis, largest=True)


@onnx_import("TopK", since=10)
def _top_k_10(node: OnnxNode) -> Sequence[Value]:
    known, axis = node.shape_value(1), node.axis(node.attribute("axis", -1), node.tensor(0).rank)
    return _first(node, None if known is None else known[0], axis, bool(node.attribute("largest", 1)))


def _first(node: OnnxNode, k: Dim | None, axis: int, largest: bool) -> Sequence[Value]:
    """A few are found one after the other; for many, or as many as data say, all are sorted."""
    x = Term(node, node.operand(0))
    if k is not None and node.is_nonnegative(FEW - k):
        return node.add_all(TopK(x.value, k, axis, largest))
    rows = x.move(axis, -1)
    lists = rows.reshape(prod(rows.dims[:-1], start=ONE), rows.dims[-1], 1)
    order = x.of(Argsort(lists.value, largest)).reshape(*rows.dims).move(-1, axis)
    if k is None:
        count = Term(node, node.operand(1)).cast(I64).reshape(1)
        order = x.of(TakeDynamic(order.value, count.value, axis, node.symbol(f"{node.name}_k")))
    else:
        order = Term(node, sliced(node, order.value, axis, ZERO, k))
    return [node.add(GatherElements(x.value, order.value, axis)), order.value]
