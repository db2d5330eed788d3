"""graph.argsort: where the rows of a matrix go when they are sorted.

    %order = graph.argsort %x {largest = false} : i64[b, n]

x is [b, n, m]: each of b lists has n rows of m elements, compared by the first element that differs.  Row order[b, 0]
of list b is its smallest one, or with `largest` its largest.  Of equal rows the one with the lower number comes first.
A NaN is larger than any number, and equal to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headrace.ir.access import Access
from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, ceildiv, dim_min
from headrace.ir.graph.families import Array, OwnKernel, Sampler, tensor
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ranking import Ranking
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import KernelWriter, at
from headrace.ir.types import F32, I32, I64, TensorType, Type

MOST_PASSES = Dim.constant(62)  # 2^62 rows are more than there is memory for


@op("graph.argsort")
class Argsort(OwnKernel):
    """The numbers of the rows in ascending order, or descending."""

    x: Value
    largest: bool = False

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if x.dtype.kind == "bool":
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        if x.rank != 3:
            raise self.fail(f"found {x}, expected lists of rows, of rank 3")
        return [TensorType(I64, x.dims[:2])]

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        """Sorted runs become ones of twice the length, in each pass from one half of `order` to the other."""
        lists, rows, _ = tensor(self.x).dims
        with w.tasks(b=lists) as (index,):
            passes, less = w.scratch(I64, (ONE,), "passes"), w.scratch(I64, (ONE,), "less")
            order = w.scratch(I64, (Dim.constant(2), rows), "order")
            merge = _Merge(w, self, (buffers[self.x], index), order)
            i = w.axis("i", rows)
            w.map([i], [], [at(order, ZERO, i)], lambda b: [b.index(Dim.symbol(i.name))])
            _put(w, {passes: ZERO, less: ZERO})
            bounds = [at(passes, ZERO), at(less, ZERO)]
            with (
                w.loop("p", MOST_PASSES),
                w.where(at(less, ZERO), lambda b, n: b.compare("lt", n, b.index(rows - 1))),
                w.lookups(bounds, [MOST_PASSES, rows]) as (done, shorter),
            ):
                merge.all_runs(shorter + 1, done % 2)
                _put(w, {passes: done + 1, less: 2 * shorter + 1})
            with w.lookups([at(passes, ZERO)], [MOST_PASSES + 1]) as (done,):
                i = w.axis("i", rows)
                w.map([i], [at(order, done % 2, i)], [at(buffers[self.result], index, i)], lambda b, row: [row])

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        (x,) = operands
        keys = np.moveaxis(x[:, ::-1] if self.largest else x, 2, 0)[::-1]  # the last key is the first one to look at
        if not len(keys):
            return (np.broadcast_to(np.arange(x.shape[1]), x.shape[:2]).copy(),)
        order = np.lexsort(keys, axis=1)
        return (x.shape[1] - 1 - order[:, ::-1] if self.largest else order,)

    @classmethod
    def sample(cls, sampler: Sampler) -> Argsort:
        dtype = I32 if chance(sampler, 0.5) else F32
        dims = (*sampler.dims(1), Dim.constant(pick(sampler, 0, 20)), *sampler.dims(1))
        return cls(sampler.tensor(TensorType(dtype, dims), -0.6, 0.6), chance(sampler, 0.5))


class _Merge:
    """Merges neighbouring runs of one list: x is its buffer and its number in there."""

    def __init__(self, w: KernelWriter, op: Argsort, x: tuple[Value, Dim], order: Value) -> None:
        self.w, self.x, self.order = w, x, order
        self.kind = tensor(op.x)
        self.ranking = Ranking(op.largest, nan_first=op.largest)
        self.left, self.right = w.scratch(I64, (ONE,), "left"), w.scratch(I64, (ONE,), "right")
        self.behind = w.scratch(I64, (ONE,), "behind")

    def all_runs(self, length: Dim, half: Dim) -> None:
        """Of that length, the last ones maybe shorter."""
        w, rows = self.w, self.kind.dims[1]
        with w.loop("r", ceildiv(rows, 2 * length)) as r:
            first = 2 * length * r
            middle, end = dim_min(first + length, rows), dim_min(first + 2 * length, rows)
            _put(w, {self.left: first, self.right: middle})
            with w.loop("t", end - first) as t, w.lookups(self._heads(), [rows + 1, rows + 1]) as (i, j):
                candidates = [at(self.order, half, dim_min(n, rows - 1)) for n in (i, j)]
                with w.lookups(candidates, [rows, rows]) as (one, other):
                    self._compare(one, other)

                    def taken(b: ScalarBuilder, behind: Value) -> list[Value]:
                        inside = b.bit_and(b.compare("ne", behind, b.constant(0, I64)), b.holds(end - 1 - j))
                        takes = b.bit_or(b.holds(i - middle), inside)
                        values = ((other, one), (i, i + 1), (j + 1, j))
                        return [b.select(takes, b.index(yes), b.index(no)) for yes, no in values]

                    w.map([], [at(self.behind, ZERO)], [at(self.order, 1 - half, first + t), *self._heads()], taken)

    def _heads(self) -> list[Access]:
        return [at(self.left, ZERO), at(self.right, ZERO)]

    def _compare(self, one: Dim, other: Dim) -> None:
        """Notes whether one row belongs behind another, by the first column in which they differ."""
        w, (buffer, index), columns = self.w, self.x, self.kind.dims[2]
        k = w.axis("k", columns, "reduction")

        def first(b: ScalarBuilder, *xs: Value) -> list[Value]:
            is_first = b.compare("lt", xs[2], xs[0])
            return [b.select(is_first, xs[2], xs[0]), b.select(is_first, xs[3], xs[1])]

        def step(b: ScalarBuilder, x: Value, y: Value, column: Value, behind: Value) -> list[Value]:
            zero = b.constant(0, I64)
            later, earlier = (self.ranking.precedes(b, (p, zero), (q, zero)) for p, q in ((y, x), (x, y)))
            here = b.select(b.bit_or(later, earlier), b.index(Dim.symbol(k.name)), b.index(columns))
            return first(b, column, behind, here, b.cast(later, I64))

        reads = [at(buffer, index, row, k) for row in (one, other)]
        start = lambda b: [b.index(columns), b.constant(0, I64)]  # noqa: E731
        bodies = start, step, first, lambda b, column, behind: [behind]
        w.reduce([k], reads, [], [at(self.behind, ZERO)], [I64, I64], bodies)


def _put(w: KernelWriter, values: Mapping[Value, Dim]) -> None:
    """Formulas into scratch of one element each."""
    formulas = list(values.values())
    w.map([], [], [at(v, ZERO) for v in values], lambda b: [b.index(f) for f in formulas])
