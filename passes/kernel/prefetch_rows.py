"""kernel.prefetch-rows: fetch the rows that a window reads next while it computes on those it has.

Before:
    kernel.parallel (w: task 8, h: task 56) {
      ...
      kernel.for (k: unroll 3) { kernel.for (l: unroll 3) { kernel.for (x: unroll 7) {
        %a = kernel.load %x[h + k, w*7 + x + l, 0] {lanes = 8}
        ...
After:
    kernel.parallel (w: task 8, h: task 56) {
      ...
      kernel.for (row: unroll 1) { kernel.for (column: unroll 9) { kernel.prefetch %x[h + row + 3, w*7 + column, 0] } }
      kernel.for (k: unroll 3) { kernel.for (l: unroll 3) { kernel.for (x: unroll 7) {
        %a = kernel.load %x[h + k, w*7 + x + l, 0] {lanes = 8}
        ...

Where two vectors fill a cache line, so many instructions pass for each new line that a core does not look far enough
ahead by itself, and columns of a few pixels follow no pattern that it would know.  (Where one fills it, it looks far
enough; where four do, asking four times for each line cost more than it gained.)  Rows behind the last one are what
lies behind the buffer.

Applies to loads that taps, all written out, move over a buffer which nobody writes, and that does not fit the
second-level cache together with what is written; of unknown dims it is taken that they do not.  Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headrace.ir.access import Access, Axis
from headrace.ir.core import Operation, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import For, Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Load, Prefetch
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.loops import loops
from headrace.passes.lowering.names import Names

LINE = 64  # bytes


@dataclass(frozen=True)
class PrefetchRows(Pass):
    """No options."""

    summary = "fetch the rows that a window reads next ahead of their use"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if context.facts is None:
            raise PassError("kernel.prefetch-rows: no target given; its vectors and caches decide what to fetch")
        if context.facts.vector_bytes * 2 != LINE:
            return
        for function in module.functions(KernelFunc):
            names, tasks = Names(function), _tasks(function)
            if not tasks or _fits_the_cache(function, context.facts):
                continue
            found = dict.fromkeys(w for load in walk(function, Load) if (w := _window(function, load, tasks)))
            for window in found:
                _fetch_next(window, rewriter, names)


@dataclass(frozen=True, slots=True)
class _Window:
    """What a patch reads, and the rows of it that the patch before has not read."""

    loop: For  # the outermost of those written out
    corner: Access  # the first element of the new rows
    sizes: tuple[tuple[int, int], ...]  # (dim, extent) from its corner on, of the dims that taps move in


def _tasks(function: KernelFunc) -> list[str]:
    return [a.name for o in walk(function, Parallel) for a in o.axes if a.kind == "task"]


def _fits_the_cache(function: KernelFunc, facts: TargetFacts) -> bool:
    kinds = [p.type for p in function.parameters]
    sizes = [k.elements * k.dtype.bytes for k in kinds if isinstance(k, BufferType)]
    return all(s.is_constant for s in sizes) and sum(s.value for s in sizes) <= facts.l2_bytes


def _window(function: KernelFunc, load: Load, tasks: list[str]) -> _Window | None:
    """None if taps do not move the load along a task axis in at least two steps, or not all of them are written out."""
    buffer, around = load.source.value, list(_loops_around(load))
    if buffer not in function.parameters or buffer in function.written or load.lanes == 1 or load.mask is not None:
        return None
    if not around or any(o.axis.kind != "unroll" for o in around):
        return None
    extents = {o.axis.name: o.axis.extent.value for o in around}
    corner, sizes = list(load.source.map.indices), dict[int, int]()
    moving = list[tuple[int, int]]()  # (place of the task axis, dim)
    for dim, index in enumerate(corner):
        steps = [(index.linear(a), n) for a, n in extents.items() if a in index.symbols]
        if any(s is None or not s[0].is_constant or s[0].value < 0 for s, _ in steps):
            return None
        if len(steps) > 1 or (steps and dim < len(corner) - 1):
            sizes[dim] = 1 + sum(s[0].value * (n - 1) for s, n in steps if s is not None)
            moving += [(tasks.index(s), dim) for s in index.symbols if s in tasks]
        corner[dim] = index.substitute(dict.fromkeys(extents, Dim.constant(0)))
    if not moving:
        return None
    place, rows = max(moving)
    split = corner[rows].linear(tasks[place])
    if rows == max(sizes) or split is None or not split[0].is_constant or not 0 < split[0].value < sizes[rows]:
        return None  # what comes next lies right behind; or neighbouring patches share no row
    corner[rows] += sizes[rows]
    sizes[rows] = split[0].value
    first = Access(buffer, replace(load.source.map, indices=tuple(corner), otherwise=None))
    return _Window(around[-1], first, tuple(sizes.items()))


def _loops_around(operation: Operation) -> Iterator[For]:
    """Innermost first."""
    for above in operation.ancestors():
        if isinstance(above, For):
            yield above


def _fetch_next(window: _Window, rewriter: Rewriter, names: Names) -> None:
    axes = [(dim, Axis(names.fresh("ahead"), "unroll", Dim.constant(extent))) for dim, extent in window.sizes]
    indices = list(window.corner.map.indices)
    for dim, axis in axes:
        indices[dim] += Dim.symbol(axis.name)
    builder = rewriter.before(window.loop)
    with loops(builder, [axis for _, axis in axes]):
        builder.add(Prefetch(window.corner._replace(map=replace(window.corner.map, indices=tuple(indices)))))
