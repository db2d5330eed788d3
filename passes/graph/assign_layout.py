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
poolings, concatenations, slices, pads, resizes and reductions, until it meets its opposite or an operation that takes
its operand as it is.  Needs: `graph.canonicalize` behind it, which cancels opposites.  Leaves: the same values in the
function's results.  Without a target, or on one that wants channels first, it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.ir.core import Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Elementwise, GraphOp, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.linear import ONE
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
    effect = "exact"

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
        copy = self._copy(op, {op.x: x, op.w: w}, channels_last=True)
        self._finish(op, build, copy, _opposite(channels_to_end(rank)))

    def _finish(self, old: GraphOp, build: Builder, new: GraphOp, perm: Perm) -> None:
        """Puts a transpose of `new` in the place of `old`."""
        found = build.add(new, old.result.hint).result
        if perm != tuple(range(len(perm))):
            found = build.add(Transpose(found, perm)).result
        self.rewriter.replace(old, [found])

    def _copy(self, op: GraphOp, values: dict[Value, Value], **attributes: object) -> GraphOp:
        copy = op.clone(dict(values))
        assert isinstance(copy, GraphOp)
        copy.attributes |= attributes
        copy.results[0].type = copy.infer()[0]
        return copy

    # ---- how it sinks ------------------------------------------------------------------------------------

    def _sink(self, op: GraphOp) -> None:
        above = [producer(o, Transpose) for o in op.operands if o not in self.lazy]
        perm = next((t.perm for t in above if t is not None), None)
        if perm is None or perm != _opposite(channels_to_end(len(perm))):
            return
        for kind, rule in RULES:
            if isinstance(op, kind):
                rule(self, op, perm)
                return

    def _elementwise(self, op: Elementwise, perm: Perm) -> None:
        if tensor(op.result).rank != len(perm):
            return
        build = self.rewriter.before(op)
        values: dict[Value, Value] = {}
        for operand in dict.fromkeys(op.operands):
            found = self._in_layout(operand, perm, build)
            if found is None:
                return
            values[operand] = found
        self._finish(op, build, self._copy(op, values), perm)

    def _in_layout(self, value: Value, perm: Perm, build: Builder) -> Value | None:
        """The operand of an elementwise operation in the layout below a transpose; None if that costs a copy."""
        above = producer(value, Transpose)
        if above is not None and above.perm == perm and value not in self.lazy:
            return above.x
        kind = tensor(value)
        wide = [i for i, d in enumerate(kind.dims) if d != ONE]
        if not wide:
            return value
        if value not in self.lazy and len(wide) > 1:
            return None
        whole = (ONE,) * (len(perm) - kind.rank) + kind.dims
        if kind.rank < len(perm):
            value = build.add(Reshape(value, whole)).result
        return _simplified(build, build.add(Transpose(value, _opposite(perm))).result)

    def _pool(self, op: Pool, perm: Perm) -> None:
        self._finish_one(op, perm, channels_last=True)

    def _finish_one(self, op: GraphOp, perm: Perm, **attributes: object) -> None:
        """An operation of one operand, which the transpose makes, and a result in the same layout."""
        above = producer(op.operands[0], Transpose)
        assert above is not None
        copy = self._copy(op, {op.operands[0]: above.x}, **attributes)
        self._finish(op, self.rewriter.before(op), copy, perm)

    def _concat(self, op: Concat, perm: Perm) -> None:
        above = [producer(x, Transpose) for x in op.xs]
        if all(t is not None and t.perm == perm for t in above):
            values = {x: t.x for x, t in zip(op.xs, above, strict=True) if t is not None}
            self._finish(op, self.rewriter.before(op), self._copy(op, values, axis=perm[op.axis]), perm)

    def _reduce(self, op: Reduce, perm: Perm) -> None:
        axes = tuple(sorted(perm[a] for a in op.axes))
        if op.keepdims:
            self._finish_one(op, perm, axes=axes)
            return
        kept = [perm[i] for i in range(len(perm)) if i not in op.axes]  # by dim of the result: the dim below
        if kept == sorted(kept):
            self._finish_one(op, tuple(range(len(kept))), axes=axes)


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
    wide = [p for p in op.perm if tensor(op.x).dims[p] != ONE]
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
)
