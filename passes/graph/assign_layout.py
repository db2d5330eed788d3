"""graph.assign-layout: convolutions and what surrounds them in the layout that the target's kernels want.

Before, on a target that wants channels last:
    %1 = graph.conv %x, %w, %b {...} : f32[n, 64, 56, 56]
    %2 = graph.relu %1 : f32[n, 64, 56, 56]
    %3 = graph.max_pool %2 {...} : f32[n, 64, 28, 28]
After:
    %4 = graph.transpose %x {perm = [0, 2, 3, 1]} : f32[n, 56, 56, 3]
    %5 = graph.transpose %w {perm = [2, 3, 1, 0]} : f32[3, 3, 3, 64]
    %6 = graph.conv %4, %5, %b {... channels_last = true} : f32[n, 56, 56, 64]
    %7 = graph.relu %6 : f32[n, 56, 56, 64]
    %8 = graph.max_pool %7 {... channels_last = true} : f32[n, 28, 28, 64]
    %3 = graph.transpose %8 {perm = [0, 3, 1, 2]} : f32[n, 64, 28, 28]

Convolutions of constant weights change their layout; a transpose behind one then sinks through elementwise operations,
poolings, concatenations, slices, pads, resizes, reductions, and reshapes that tear no dims apart, until it meets its
opposite or an operation that takes its operand as it is.  Where an operation has other operands too, they are
transposed instead, unless these are larger.  Needs: `graph.canonicalize` behind it, which cancels opposites.  Leaves:
the same values in the function's results.  Without a target, or on one that wants channels first, it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from headrace.ir.core import Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Elementwise, GraphOp, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.linear import ONE, ZERO, groups
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.extend import Extend
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.interpolate import Interpolate
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.pool import Pool
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.resize import Resize
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter

FEWEST_FEATURES = 4  # with fewer, lanes run better along the image

Perm = tuple[int, ...]


@dataclass(frozen=True)
class AssignLayout(Pass):
    """No options."""

    summary = "give convolutions and what surrounds them the layout that the target wants"
    effect = "reorders"  # what is summed over several dims is summed in another order

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if context.facts is None or not context.facts.channels_last:
            return
        for function in module.functions(GraphFunc):
            if not function.stands_for_constant:
                _Layout(function, rewriter).run()


def channels_to_end(rank: int) -> Perm:
    """The order of dims that puts dim 1 last."""
    return (0, *range(2, rank), 1)


def _opposite(perm: Perm) -> Perm:
    return tuple(perm.index(i) for i in range(len(perm)))


class _Layout:
    """One function, its operations visited in order: what is above one has its layout already."""

    def __init__(self, function: GraphFunc, rewriter: Rewriter) -> None:
        self.function = function
        self.rewriter = rewriter
        self.lazy = lazy_values(function.block)
        self.made: set[Value] = set()  # by transposes that this pass put there; membership only

    def run(self) -> None:
        for operation in list(self.function.block.body):
            if not isinstance(operation, GraphOp) or all(r in self.lazy for r in operation.results):
                continue
            if isinstance(operation, Conv):
                self._conv(operation)
            elif len(operation.results) == 1:
                self._sink(operation)

    # ---- where it starts ---------------------------------------------------------------------------------

    def _conv(self, op: Conv) -> None:
        features = tensor(op.w).dims[0]
        few = features.is_constant and features.value < FEWEST_FEATURES
        if op.channels_last or op.w not in self.lazy or few:
            return
        rank = tensor(op.x).rank
        build = self.rewriter.before(op)
        x = _simplified(build, build.add(Transpose(op.x, channels_to_end(rank))).result)
        w = build.add(Transpose(op.w, (*range(2, rank), 1, 0))).result
        self.lazy.add(w)
        # A new one, not a copy with other values in their places: a constant may be both operands.
        new = Conv(x, w, op.b, op.strides, op.dilations, op.before, op.after, op.groups, True)
        self._finish(op, build, new, _opposite(channels_to_end(rank)))

    def _finish(self, old: GraphOp, build: Builder, new: GraphOp, perm: Perm) -> None:
        """Puts a transpose of `new` in the place of `old`."""
        found = build.add(new, old.result.hint).result
        if perm != tuple(range(len(perm))):
            found = build.add(Transpose(found, perm)).result
            self.made.add(found)
        self.rewriter.replace(old, [found])

    def _copy(self, op: GraphOp, values: dict[Value, Value], **attributes: object) -> GraphOp:
        copy = op.clone(dict(values))
        assert isinstance(copy, GraphOp)
        copy.attributes |= attributes
        copy.results[0].type = copy.infer()[0]
        return copy

    # ---- how it sinks ------------------------------------------------------------------------------------

    def _sink(self, op: GraphOp) -> None:
        for kind, rule in RULES:
            if isinstance(op, kind):
                perm = next((p for p in map(self._perm, op.operands) if p is not None), None)
                if perm is not None:
                    rule(self, op, perm)
                return

    def _perm(self, value: Value) -> Perm | None:
        """The order that a transpose above gives its dims, if it is one that may sink: what follows a convolution."""
        above = producer(value, Transpose)
        if above is None or value in self.lazy:
            return None
        follows = value in self.made or above.perm == _opposite(channels_to_end(len(above.perm)))
        return above.perm if follows else None

    def _elementwise(self, op: Elementwise, perm: Perm) -> None:
        if tensor(op.result).rank == len(perm) and self._pays(op, perm):
            build = self.rewriter.before(op)
            values = {o: self._in_layout(o, perm, build) for o in dict.fromkeys(op.operands)}
            self._finish(op, build, self._copy(op, values), perm)

    def _pays(self, op: GraphOp, perm: Perm) -> bool:
        """Whether the operands below a transpose have no fewer elements than those that would get one."""
        balance = ZERO
        for operand in dict.fromkeys(op.operands):
            if self._perm(operand) == perm:
                balance = balance + tensor(operand).elements
            elif operand not in self.lazy and len(_wide(tensor(operand).dims)) > 1:
                balance = balance - tensor(operand).elements
        return balance == ZERO or self.function.known.less_equal(balance, ZERO) is not True

    def _in_layout(self, value: Value, perm: Perm, build: Builder) -> Value:
        """The operand in the layout below a transpose; one of fewer dims, which will be broadcast, gets them all."""
        above = producer(value, Transpose)
        if above is not None and self._perm(value) == perm:
            return above.x
        kind = tensor(value)
        if not _wide(kind.dims):
            return value
        if kind.rank < len(perm):
            value = build.add(Reshape(value, (ONE,) * (len(perm) - kind.rank) + kind.dims)).result
        return _simplified(build, build.add(Transpose(value, _opposite(perm))).result)

    def _transpose(self, op: Transpose, perm: Perm) -> None:
        above = producer(op.x, Transpose)
        assert above is not None
        both = tuple(perm[p] for p in op.perm)
        if both == tuple(range(len(both))):
            self.rewriter.replace(op, [above.x])
        else:
            self.made.add(self.rewriter.replace_with(op, Transpose(above.x, both)).result)

    def _pool(self, op: Pool, perm: Perm) -> None:
        if not op.channels_last and perm == _opposite(channels_to_end(len(perm))):
            self._finish_one(op, perm, channels_last=True)

    def _finish_one(self, op: GraphOp, perm: Perm, **attributes: object) -> None:
        """An operation of one operand, which the transpose makes, and a result in the same layout."""
        above = producer(op.operands[0], Transpose)
        assert above is not None
        copy = self._copy(op, {op.operands[0]: above.x}, **attributes)
        self._finish(op, self.rewriter.before(op), copy, perm)

    def _concat(self, op: Concat, perm: Perm) -> None:
        if self._pays(op, perm):
            build = self.rewriter.before(op)
            values = {x: self._in_layout(x, perm, build) for x in dict.fromkeys(op.xs)}
            self._finish(op, build, self._copy(op, values, axis=perm[op.axis]), perm)

    def _reduce(self, op: Reduce, perm: Perm) -> None:
        axes = tuple(sorted(perm[a] for a in op.axes))
        if not op.keepdims:
            kept = [perm[i] for i in range(len(perm)) if i not in op.axes]  # by dim of the result: the dim below
            perm = tuple(sorted(kept).index(i) for i in kept)
        self._finish_one(op, perm, axes=axes)

    def _reshape(self, op: Reshape, perm: Perm) -> None:
        """Dims that are joined or split lie side by side below the transpose too, in the same order."""
        before, order = tensor(op.x).dims, _opposite(perm)
        pieces = groups(op.dims, before)
        below = [next(n for n, (_, piece) in enumerate(pieces) if piece.start <= i < piece.stop) for i in order]
        wide = [(number, i) for number, i in zip(below, order, strict=True) if before[i] != ONE]
        runs = [number for number, _ in groupby(wide, key=lambda pair: pair[0])]
        ascending = all(a[1] < b[1] for a, b in pairwise(wide) if a[0] == b[0])
        if len(set(runs)) < len(runs) or not ascending:
            return
        places = [*runs, *(n for n in range(len(pieces)) if n not in runs)]
        dims = [
            i for n in places for i in range(*pieces[n][0].indices(len(op.dims)))
        ]  # of the result, in their order below
        self._finish_one(op, _opposite(tuple(dims)), dims=tuple(op.dims[i] for i in dims))


def _wide(dims: Sequence[Dim]) -> list[int]:
    """The dims along which there is more than one element, or may be."""
    return [i for i, d in enumerate(dims) if d != ONE]


def _by_dim(*names: str) -> Callable[[_Layout, GraphOp, Perm], None]:
    """The rule for an operation of which these attributes have an element for each dim."""

    def sink(layout: _Layout, op: GraphOp, perm: Perm) -> None:
        layout._finish_one(op, perm, **{n: _permuted(op.attributes[n], _opposite(perm)) for n in names})

    return sink


def _permuted(parts: Sequence[Dim | int], order: Perm) -> tuple[Dim | int, ...]:
    return tuple(parts[i] for i in order)


def _simplified(build: Builder, value: Value) -> Value:
    """A transpose that cancels the one above it, or moves dims of 1 only, as what it is."""
    op = producer(value, Transpose)
    assert op is not None
    folded = op.fold()
    if folded is not None:
        return folded
    wide = [p for p in op.perm if p in _wide(tensor(op.x).dims)]
    return build.add(Reshape(op.x, tensor(value).dims)).result if wide == sorted(wide) else value


RULES: tuple[tuple[type, Callable[..., None]], ...] = (
    (Elementwise, _Layout._elementwise),
    (Pool, _Layout._pool),
    (Concat, _Layout._concat),
    (Slice, _by_dim("starts", "sizes", "steps")),
    (Pad, _by_dim("before", "after")),
    (Extend, _by_dim("before", "after")),
    (Resize, _by_dim("sizes", "slopes", "offsets", "divisors")),
    (Interpolate, _by_dim("sizes", "slopes", "offsets", "divisors")),
    (Reduce, _Layout._reduce),
    (Reshape, _Layout._reshape),
    (Transpose, _Layout._transpose),
)
