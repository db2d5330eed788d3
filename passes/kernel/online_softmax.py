"""kernel.online-softmax: weigh the columns of a row block by block, and keep the scores of one block only.

Before (all in a loop over rows, %s of n elements):
    kernel.reduce (j: parallel n, k: reduction 64) ... writes(%s[j])
    kernel.reduce (r: reduction n) reads(%s[r]) writes(%m[0])                                        // max
    kernel.map (j_1: parallel n) reads(%s[j_1], %m[0]) writes(%s[j_1])                               // exp(s - m)
    kernel.reduce (r_1: reduction n) reads(%s[r_1]) writes(%l[0])                                    // sum, then 1/l
    kernel.reduce (d: parallel 64, j_2: reduction n) reads(%s[j_2], %v[j_2, d]) late(%l[0]) writes(%y[i, d])
After `kernel.online-softmax{func=f by=32}`:
    %s = kernel.alloc {type = buffer<f32[32], stack>}    // and %o, ...
    kernel.map () writes(%m[0]) ...    // -inf
    kernel.map () writes(%l[0]) ...    // 0
    kernel.map (d_s: parallel 64) writes(%o[d_s]) ...    // 0
    kernel.for (j_t: sequential (n + 31) floordiv 32) {
      kernel.reduce (j: parallel 32, k: reduction 64) ... writes(%s[j])    // -inf beyond n
      kernel.map () reads(%m[0]) writes(%before[0])
      kernel.reduce (r: reduction 32) reads(%s[r]) late(%before[0]) writes(%m[0])    // max(acc, before)
      kernel.map () reads(%before[0], %m[0]) writes(%scale[0])    // exp(before - m)
      kernel.map (j_1: parallel 32) reads(%s[j_1], %m[0]) writes(%s[j_1])    // exp(s - m)
      kernel.reduce (r_1: reduction 32) reads(%s[r_1]) late(%l[0], %scale[0]) writes(%l[0])    // l*scale + acc
      kernel.reduce (d: parallel 64, j_2: reduction 32) reads(%s[j_2], %v[j_2 + j_t*32, d] else 0.0)
          late(%o[d], %scale[0]) writes(%o[d])    // o*scale + acc
    }
    kernel.map () reads(%l[0]) writes(%l[0]) ...    // 1/l
    kernel.map (d_f: parallel 64) reads(%o[d_f], %l[0]) writes(%y[i, d_f]) ...

A greatest score of -inf counts as 0 in the differences: with weights of 0 a block of such scores changes nothing.
Refuses: a kernel of another form (`passes/lowering/softmax.py`), results or scores whose extents are no constants where
scratch must be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region, Value, producer
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.errors import PassError
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.control import For, Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType, DType, Element, ScalarType, element_dtype
from headrace.passes.lowering.axes import kernel_named, zero_of
from headrace.passes.lowering.softmax import ZERO, RowSoftmax, row_softmax

Values = Sequence[Value]
LOWEST = float("-inf")


@dataclass(frozen=True)
class OnlineSoftmax(Pass):
    """`func`: the kernel; `by`: columns of a block."""

    func: str
    by: int

    summary = "weigh the columns of a row block by block"
    effect = "approximates"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        found = row_softmax(function)
        if found is None or self.by < 1:
            raise PassError(f"kernel.online-softmax: @{self.func} weighs no rows by a softmax, or by is {self.by}")
        if not all(a.extent.is_constant for a in found.results):
            raise PassError(f"kernel.online-softmax: the results of @{self.func} have extents that are no constants")
        _Blocks(function, found, self.by, rewriter).write()


class _Blocks:
    """What becomes of one row."""

    def __init__(self, function: KernelFunc, found: RowSoftmax, by: int, rewriter: Rewriter) -> None:
        self.found, self.by, self.rewriter = found, Dim.constant(by), rewriter
        loop, before, behind = found.new_names(function)
        self.loop = Axis(loop, "sequential", ceildiv(found.column.extent, by))
        self.divides = function.known.divides(by, found.column.extent) is True
        self.before, self.behind = (
            tuple(replace(a, name=name) for a, name in zip(found.results, names, strict=True))
            for names in (before, behind)
        )
        self.dtype = element_dtype(found.scores.writes[0].value.type)
        self.builder = rewriter.before(found.scores)
        self.scores = self._alloc(self.dtype, (self.by,), "s")
        self.most, self.sum, self.old, self.scale = (
            Access(self._alloc(self.dtype, (Dim.constant(1),), hint), AccessMap((ZERO,)))
            for hint in ("most", "sum", "before", "scale")
        )
        self.results = self._alloc(self.dtype, tuple(a.extent for a in found.results), "o")

    def write(self) -> None:
        found, builder = self.found, self.builder
        self._fill((), self.most, LOWEST)
        self._fill((), self.sum, 0.0)
        self._fill(self.before, self._result(self.before), 0.0)
        body = Region()
        builder.add(For((self.loop,), body))
        with builder.at(body.block):
            self._score()
            builder.add(Map((), (self.most,), (self.old,), self._region(1, lambda b, v: [v[0]])))
            self._weigh()
            self._sum_up()
        builder.add(Map((), (self.sum,), (self.sum,), found.total.finish.clone({})))
        total = found.total.writes[0].value
        late = tuple(self._behind(self.sum if a.value is total else a) for a in found.product.late)
        writes = tuple(self._behind(a) for a in found.product.writes)
        reads = (self._result(self.behind), *late)
        builder.add(Map(self.behind, reads, writes, found.product.finish.clone({})))
        gone = (found.product, found.total, found.weights, found.greatest, found.scores)
        buffers = dict.fromkeys(o.writes[0].value for o in gone[1:])
        for operation in gone:
            self.rewriter.erase(operation)
        for buffer in buffers:
            alloc = producer(buffer, Alloc)
            assert alloc is not None
            self.rewriter.erase(alloc)

    # ---- inside the loop ---------------------------------------------------------------------------------

    def _score(self) -> None:
        op = self.found.scores
        axes = tuple(replace(a, extent=self.by) if a is self.found.column else a for a in op.axes)
        reads, late = (tuple(self._moved(a, self.found.column.name) for a in group) for group in (op.reads, op.late))
        own = (self._at(self.scores, self.found.column),)
        finish = op.finish.clone({})
        if not self.divides:
            self._hide(finish)
        self._reduce(op, axes, reads, late, own, finish)

    def _hide(self, finish: Region) -> None:
        """A column that does not exist has no weight."""
        block, column = finish.block, self.found.column
        (value,) = block.terminator.operands
        b = ScalarBuilder(self.rewriter.before(block.terminator))
        exists = b.holds(column.extent - 1 - self._column(column.name))
        shown = b.select(exists, value, b.constant(LOWEST, value))
        self.rewriter.set_operand(block.terminator, 0, shown)

    def _weigh(self) -> None:
        op = self.found.greatest
        (axis,) = op.axes
        own = self._at(self.scores, axis)
        larger = self._region(2, lambda b, v: [b.maximum(v[0], v[1])])
        self._reduce(op, (replace(axis, extent=self.by),), (own,), (self.old,), (self.most,), larger)
        weight = self._region(2, lambda b, v: [_weight(b, v[0], v[1])])
        self.builder.add(Map((), (self.old, self.most), (self.scale,), weight))
        (axis,) = self.found.weights.axes
        own = self._at(self.scores, axis)
        self.builder.add(Map((replace(axis, extent=self.by),), (own, self.most), (own,), weight.clone({})))

    def _sum_up(self) -> None:
        op, product = self.found.total, self.found.product
        (axis,) = op.axes
        add = self._region(3, lambda b, v: [b.muladd(v[1], v[2], v[0])])
        own, late = (self._at(self.scores, axis),), (self.sum, self.scale)
        self._reduce(op, (replace(axis, extent=self.by),), own, late, (self.sum,), add)
        added = self.found.added
        weights = self.found.weights.writes[0].value
        reads = tuple(
            self._at(self.scores, added) if a.value is weights else self._moved(a, added.name) for a in product.reads
        )
        axes = tuple(replace(a, extent=self.by) if a is added else a for a in product.axes)
        own = (self._result(self.found.results),)
        self._reduce(product, axes, reads, (*own, self.scale), own, add.clone({}))

    # ---- parts -------------------------------------------------------------------------------------------

    def _reduce(
        self, op: Reduce, axes: tuple[Axis, ...], reads: tuple[Access, ...], late: tuple[Access, ...],
        writes: tuple[Access, ...], finish: Region,
    ) -> None:  # fmt: skip
        """The same fold over other elements."""
        init, step, combine = (r.clone({}) for r in (op.init, op.step, op.combine))
        self.builder.add(Reduce(axes, reads, late, writes, init, step, combine, finish))

    def _alloc(self, dtype: DType, dims: tuple[Dim, ...], hint: str) -> Value:
        return self.builder.add(Alloc(BufferType(dtype, dims, "stack")), hint).result

    def _fill(self, axes: tuple[Axis, ...], target: Access, value: float) -> None:
        body = self._region(0, lambda b, v: [b.constant(value, self.dtype)])
        self.builder.add(Map(axes, (), (target,), body))

    def _region(self, arguments: int, write: Callable[[ScalarBuilder, Values], Values]) -> Region:
        kinds: list[Element] = [ScalarType(self.dtype)] * arguments
        block = Block(kinds)
        inside = Builder(block, None, self.found.scores.location)
        inside.add(Yield(tuple(write(ScalarBuilder(inside), block.arguments))))
        return Region(block)

    def _column(self, axis: str) -> Dim:
        return Dim.symbol(self.loop.name) * self.by + Dim.symbol(axis)

    def _moved(self, access: Access, axis: str) -> Access:
        """The access at the columns of the block; columns that do not exist are 0."""
        map = access.map.substitute({axis: self._column(axis)})
        if self.divides or map.otherwise is not None or map == access.map:
            return Access(access.value, map)
        return Access(access.value, replace(map, otherwise=zero_of(access.value)))

    def _at(self, buffer: Value, axis: Axis) -> Access:
        return Access(buffer, AccessMap((Dim.symbol(axis.name),)))

    def _result(self, axes: Sequence[Axis]) -> Access:
        return Access(self.results, AccessMap(tuple(Dim.symbol(a.name) for a in axes)))

    def _behind(self, access: Access) -> Access:
        names = {a.name: Dim.symbol(b.name) for a, b in zip(self.found.results, self.behind, strict=True)}
        return Access(access.value, access.map.substitute(names))


def _weight(b: ScalarBuilder, score: Value, most: Value) -> Value:
    """e to the difference; where all scores are -inf so far, none of them has weight."""
    none = b.compare("eq", most, b.constant(LOWEST, most))
    return b.exp_nonpositive(b.sub(score, b.select(none, b.constant(0.0, most), most)))
