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

Needs: one block; a buffer is written before it is read.  Leaves: an offset for each alloc, a formula over the
symbols that are known where the alloc stands, and a multiple of 64.  Refuses: to reuse inputs and results of the
model, which are the caller's memory.

A buffer lives from the first operation that touches it, directly or through views, to the last.  Two that live at
the same time never overlap, whatever values the symbols have: each pair is kept apart by a comparison of formulas
that the facts decide.  The largest buffers are placed first, each at the lowest end of those alive with it where
it provably fits; where sizes cannot be compared, behind all of them.  Sizes at nominal dims only decide the order
and which of several plans is the smallest.

`program.read` makes a symbol of data, so that sizes below it are unknown above.  Buffers are therefore planned
segment by segment: what lies above a read never depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.ir.core import Value, walk
from headrace.ir.dims import Dim, Facts, ceildiv, dim_max
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Alloc, ProgramFunc, Read, View
from headrace.ir.rewrite import Rewriter

ALIGNMENT = 64
# What a symbol is taken to be where an order of sizes is wanted and nothing is known.
NOMINAL = 16
ZERO = Dim.constant(0)


@dataclass(frozen=True)
class PlanMemory(Pass):
    """The pass."""

    summary = "give every buffer of the arena its place"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(ProgramFunc):
            for alloc, offset in planned_offsets(function).items():
                rewriter.set_attribute(alloc, "offset", offset)


def arena_bytes(function: ProgramFunc) -> Dim:
    """How much memory the planned arena takes: the furthest end of any buffer."""
    facts = function.known
    ends = [_planned(alloc) + aligned_bytes(alloc) for alloc in walk(function, Alloc)]
    return _largest(ends, facts)


def aligned_bytes(alloc: Alloc) -> Dim:
    """The bytes of a buffer, rounded up to whole cache lines."""
    return ceildiv(alloc.type.bytes, ALIGNMENT) * ALIGNMENT


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

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def lifetimes(function: ProgramFunc) -> list[Lifetime]:
    """Of all allocs, in program order; one that nothing touches lives at its own place."""
    bases: dict[Value, Alloc] = {}
    touched: dict[Alloc, list[int]] = {}
    segments: dict[Alloc, int] = {}
    segment = 0
    for position, operation in enumerate(function.block.operations):
        match operation:
            case Alloc():
                bases[operation.result] = operation
                touched[operation] = []
                segments[operation] = segment
            case View():
                if operation.x in bases:
                    bases[operation.result] = bases[operation.x]
            case _:
                for base in dict.fromkeys(bases[o] for o in operation.operands if o in bases):
                    touched[base].append(position)
        segment += isinstance(operation, Read)
    found = []
    for alloc, at in touched.items():
        at = at or [function.block.operations.index(alloc)]
        found.append(Lifetime(alloc, at[0], at[-1], segments[alloc], aligned_bytes(alloc)))
    return found


# ---- offsets ---------------------------------------------------------------------------------------------------

_Order = Callable[[Lifetime, int], tuple[int, ...]]

# Keys by which buffers are placed, from a lifetime and its nominal size; the segment comes before any of them.
_ORDERS: tuple[_Order, ...] = (
    lambda life, size: (-size, life.first),
    lambda life, size: (-size * (life.last - life.first + 1), life.first),
    lambda life, size: (life.first, -size),
)


def planned_offsets(function: ProgramFunc) -> dict[Alloc, Dim]:
    """The best plan that one of the orders gives, judged at nominal dims; the first of equally good ones."""
    facts = function.known
    lives = lifetimes(function)
    nominal = _nominal_values(lives, facts)
    sizes = {life.alloc: int(life.size.evaluate(nominal)) for life in lives}
    best: dict[Alloc, Dim] = {}
    best_bytes: int | None = None
    for order in _ORDERS:
        queue = sorted(lives, key=lambda life: (life.segment, *order(life, sizes[life.alloc])))
        plan = _placed(queue, facts)
        needed = max((int(o.evaluate(nominal)) + sizes[a] for a, o in plan.items()), default=0)
        if best_bytes is None or needed < best_bytes:
            best, best_bytes = plan, needed
    return {life.alloc: best[life.alloc] for life in lives}


def _nominal_values(lives: Sequence[Lifetime], facts: Facts) -> dict[str, int]:
    symbols = sorted({s for life in lives for s in life.size.symbols})
    return facts.smallest(symbols, dict.fromkeys(symbols, NOMINAL))


@dataclass(frozen=True, slots=True)
class _Placed:
    life: Lifetime
    start: Dim
    end: Dim


def _placed(queue: Sequence[Lifetime], facts: Facts) -> dict[Alloc, Dim]:
    placed: list[_Placed] = []
    for life in queue:
        others = [p for p in placed if p.life.meets(life)]
        start = _lowest(life, others, facts)
        placed.append(_Placed(life, start, start + life.size))
    return {p.life.alloc: p.start for p in placed}


def _lowest(life: Lifetime, others: Sequence[_Placed], facts: Facts) -> Dim:
    """The lowest start at which the buffer provably overlaps none of those alive with it."""
    fitting: list[Dim] = []
    for start in dict.fromkeys([ZERO, *(p.end for p in others)]):
        lower = any(facts.less_equal(known, start) is True for known in fitting)
        if not lower and all(_apart(start, life.size, p, facts) for p in others):
            fitting = [known for known in fitting if facts.less_equal(start, known) is not True] + [start]
    return fitting[0] if fitting else _largest([p.end for p in others], facts)


def _apart(start: Dim, size: Dim, other: _Placed, facts: Facts) -> bool:
    return facts.less_equal(other.end, start) is True or facts.less_equal(start + size, other.start) is True


def _largest(dims: Sequence[Dim], facts: Facts) -> Dim:
    """The maximum, as a formula, without those that others provably reach."""
    kept: list[Dim] = []
    for dim in dict.fromkeys(dims):
        if any(facts.less_equal(dim, k) is True for k in kept):
            continue
        kept = [k for k in kept if facts.less_equal(k, dim) is not True] + [dim]
    return dim_max(*kept) if kept else ZERO
