"""program.plan-memory: give every buffer of the arena its place.

Before:
    %a = program.alloc {type = buffer<f32[n, 64], arena>} : buffer<f32[n, 64], arena>
    program.launch buffers(%x, %a) {kernel = @first, scalars = [n]}
    %b = program.alloc {type = buffer<f32[n, 64], arena>} : buffer<f32[n, 64], arena>
    program.launch buffers(%a, %b) {kernel = @second, scalars = [n]}
    %c = program.alloc {type = buffer<f32[n, 16], arena>} : buffer<f32[n, 16], arena>
    program.launch buffers(%b, %c) {kernel = @third, scalars = [n]}
After: the same with
    %a ... offset = 0
    %b ... offset = 256*n
    %c ... offset = 0          (what %a held was read for the last time before @third)

Needs: a buffer is written before it is read.  Leaves: an offset for each alloc, a formula over the
symbols that are known where the alloc stands, and a multiple of 64.  Refuses: to reuse inputs and results of the
model, which are the caller's memory.

A buffer lives from the first operation that touches it, directly or through views, to the last.  Two that live at
the same time never overlap, whatever values the symbols have: each pair is kept apart by a comparison of formulas
that the facts decide.  The largest buffers are placed first, each at the lowest end of those alive with it where
it provably fits; where sizes cannot be compared, behind all of them.  Sizes at nominal dims only decide the order
and which of several plans is the smallest.

`program.read` makes a symbol of data, so that sizes below it are unknown above.  Buffers are therefore planned
segment by segment: what lies above a read never depends on it.  So does a loop, whose body is planned by itself: its
buffers lie in an arena of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headrace.ir.core import Block, Operation, Value, walk
from headrace.ir.dims import NOMINAL, Dim, Facts, ceildiv, dim_max
from headrace.ir.errors import DimError
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Alloc, Loop, ProgramFunc, Read, View, bytes_of
from headrace.ir.rewrite import Rewriter

ALIGNMENT = 64
ZERO = Dim.constant(0)


@dataclass(frozen=True)
class PlanMemory(Pass):
    """The pass."""

    summary = "give every buffer of the arena its place"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(ProgramFunc):
            for block in _blocks(function):
                for alloc, offset in planned_offsets(block, function.known).items():
                    rewriter.set_attribute(alloc, "offset", offset)


def arena_bytes(function: ProgramFunc) -> Dim:
    """How much memory the planned arena takes, those of loops left out: the furthest end of any buffer."""
    allocs = [o for o in function.block.operations if isinstance(o, Alloc)]
    ends = [_planned(alloc) + aligned_bytes(alloc) for alloc in allocs]
    return _Comparison(function.known, ends).largest(ends)


def _blocks(function: ProgramFunc) -> list[Block]:
    """The function's own and those of its loops."""
    return [function.block, *(loop.body.block for loop in walk(function, Loop))]


def aligned_bytes(alloc: Alloc) -> Dim:
    """The bytes of a buffer, rounded up to whole cache lines."""
    return ceildiv(bytes_of(alloc), ALIGNMENT) * ALIGNMENT


def _planned(alloc: Alloc) -> Dim:
    assert alloc.offset is not None, "the memory is not planned yet"
    return alloc.offset


# ---- lifetimes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer, the positions of the first and last operation that touch it, and how many reads lie above it."""

    alloc: Alloc
    first: int
    last: int
    segment: int
    size: Dim


def neighbours(lives: Sequence[Lifetime]) -> dict[Alloc, list[Alloc]]:
    """Which others each buffer is alive with."""
    found: dict[Alloc, list[Alloc]] = {life.alloc: [] for life in lives}
    alive: list[Lifetime] = []
    for life in sorted(lives, key=lambda life: life.first):
        alive = [other for other in alive if other.last >= life.first]
        for other in alive:
            found[life.alloc].append(other.alloc)
            found[other.alloc].append(life.alloc)
        alive.append(life)
    return found


def lifetimes(block: Block) -> list[Lifetime]:
    """Of the block's allocs, in program order; one that nothing touches lives at its own place."""
    bases: dict[Value, Alloc] = {}
    touched: dict[Alloc, list[int]] = {}
    segments: dict[Alloc, int] = {}
    segment = 0
    for position, operation in enumerate(block.operations):
        match operation:
            case Alloc():
                bases[operation.result] = operation
                touched[operation] = []
                segments[operation] = segment
            case View():
                if operation.x in bases:
                    bases[operation.result] = bases[operation.x]
            case _:
                _note_views(operation, bases)
                used = [o for inner in operation.walk() for o in inner.operands]
                for base in dict.fromkeys(bases[o] for o in used if o in bases):
                    touched[base].append(position)
        segment += isinstance(operation, Read | Loop)
    found = []
    for alloc, at in touched.items():
        at = at or [block.position(alloc)]
        found.append(Lifetime(alloc, at[0], at[-1], segments[alloc], aligned_bytes(alloc)))
    return found


def _note_views(operation: Operation, bases: dict[Value, Alloc]) -> None:
    """Views in a loop of what lies outside."""
    for view in walk(operation, View):
        if view.x in bases:
            bases[view.result] = bases[view.x]


# ---- comparisons -----------------------------------------------------------------------------------------------


class _Comparison:
    """Which of two formulas is proven to be no larger; asked of few pairs, and of each once."""

    def __init__(self, facts: Facts, dims: Sequence[Dim]) -> None:
        self.facts = facts
        symbols = sorted({s for d in dims for s in d.symbols})
        alike, staggered = dict.fromkeys(symbols, NOMINAL), {s: NOMINAL * (i + 1) for i, s in enumerate(symbols)}
        self._points = [self.facts.smallest(symbols, floors) for floors in ({}, alike, staggered)]
        self._known: dict[Dim, bool] = {}

    def no_larger(self, left: Dim, right: Dim) -> bool:
        """Whether left <= right for all values that the facts allow; False also where there is no proof."""
        gap = right - left
        if gap not in self._known:
            # A counterexample is cheap to try; a search for a proof that there is none is not.
            possible = all(_not_below_zero(gap, point) for point in self._points)
            self._known[gap] = possible and self.facts.less_equal(left, right) is True
        return self._known[gap]

    def largest(self, dims: Sequence[Dim]) -> Dim:
        """The maximum, as a formula, without those that others provably reach."""
        kept: list[Dim] = []
        for dim in dict.fromkeys(dims):
            if any(self.no_larger(dim, k) for k in kept):
                continue
            kept = [k for k in kept if not self.no_larger(k, dim)] + [dim]
        return dim_max(*kept) if kept else ZERO


def _not_below_zero(formula: Dim, point: Mapping[str, int]) -> bool:
    """Whether a formula is no counterexample at a point; where it divides by 0 there is no run to speak of."""
    try:
        return int(formula.evaluate(point)) >= 0
    except DimError:
        return True


# ---- offsets ---------------------------------------------------------------------------------------------------

_Order = Callable[[Lifetime, int], tuple[int, ...]]

# Keys by which buffers are placed, from a lifetime and its nominal size; the segment comes before any of them.
_ORDERS: tuple[_Order, ...] = (
    lambda life, size: (-size, life.first),
    lambda life, size: (-size * (life.last - life.first + 1), life.first),
    lambda life, size: (life.first, -size),
)


def planned_offsets(block: Block, facts: Facts) -> dict[Alloc, Dim]:
    """The best plan that one of the orders gives, judged at nominal dims; the first of equally good ones."""
    lives = lifetimes(block)
    compare = _Comparison(facts, [life.size for life in lives])
    sizes = {life.alloc: compare.facts.nominal(life.size) for life in lives}
    together = neighbours(lives)
    plans = []
    for order in _ORDERS:
        queue = sorted(lives, key=lambda life: (life.segment, *order(life, sizes[life.alloc])))
        plans.append(_placed(queue, together, compare))

    def needed(plan: dict[Alloc, Dim]) -> int:
        return max((compare.facts.nominal(offset) + sizes[a] for a, offset in plan.items()), default=0)

    best = min(plans, key=needed)
    return {life.alloc: best[life.alloc] for life in lives}


@dataclass(frozen=True, slots=True)
class _Placed:
    number: int  # of those placed before
    start: Dim
    end: Dim


def _placed(
    queue: Sequence[Lifetime], together: Mapping[Alloc, Sequence[Alloc]], compare: _Comparison
) -> dict[Alloc, Dim]:
    placed: dict[Alloc, _Placed] = {}
    top = ZERO  # no buffer placed so far ends above it
    for life in queue:
        others = sorted((placed[o] for o in together[life.alloc] if o in placed), key=lambda p: p.number)
        start = _lowest(life, others, compare)
        if start is None:
            start = top
        end = start + life.size
        if compare.no_larger(top, end):
            top = end
        elif not compare.no_larger(end, top):
            top = top + life.size
        placed[life.alloc] = _Placed(len(placed), start, end)
    return {alloc: p.start for alloc, p in placed.items()}


def _lowest(life: Lifetime, others: Sequence[_Placed], compare: _Comparison) -> Dim | None:
    """The lowest start at which the buffer provably overlaps none of those alive with it, if one is found."""
    fitting: list[Dim] = []
    for start in dict.fromkeys([ZERO, *(p.end for p in others)]):
        lower = any(compare.no_larger(known, start) for known in fitting)
        if not lower and all(_apart(start, life.size, p, compare) for p in others):
            fitting = [known for known in fitting if not compare.no_larger(start, known)] + [start]
    return fitting[0] if fitting else None


def _apart(start: Dim, size: Dim, other: _Placed, compare: _Comparison) -> bool:
    return compare.no_larger(other.end, start) or compare.no_larger(start + size, other.start)
