"""kernel.prefetch-panels: fetch the next panel of a packed operand while rows pass over the one in the cache.

Before:
    kernel.parallel (p: task 12, i: task 22) {
      ...
      kernel.for (k: sequential 768) {
        %b = kernel.load %w[p, k, 0] {lanes = 16}
        ... kernel.muladd
      }
    }
After:
    kernel.parallel (p: task 12, i: task 22) {
      ...
      kernel.for (k_o: sequential 48) {
        kernel.for (k_i: sequential 16) {
          %b = kernel.load %w[p, k_o*16 + k_i, 0] {lanes = 16}
          ... kernel.muladd
        }
        kernel.if {where = [12287 - k_o*16 - i*768]} { kernel.prefetch %w[p + 1, 0, k_o*16 + i*768] }
      }
    }

The first rows of a panel would wait for memory, and all others leave it idle.  So each row fetches its share of the
panel that comes next, a cache line (16 elements) every few steps.  The panel behind the last one is what lies behind
the buffer: the weights of the kernel to come, where constants lie in the order of their use.

Applies to innermost loops that multiply and add, and load a buffer that nobody writes: in one piece from start to end
of all reductions, moved on by a task axis outside of those that walk over rows.  Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Region, contains, walk
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.kernel.ops.control import For, Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Load, Prefetch
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.axes import rewrite_formulas
from headrace.passes.lowering.loops import guarded
from headrace.passes.lowering.names import Names

LINE = 64  # bytes
OFTEN = 2  # steps from one line to the next where the number of rows is known at run time only


@dataclass(frozen=True)
class PrefetchPanels(Pass):
    """No options."""

    summary = "fetch the next panel of a packed operand ahead of its use"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(KernelFunc):
            names = Names(function)
            for loop in list(walk(function, For)):
                if _is_innermost(loop) and contains(loop, MulAdd):
                    panels = [_panel(function, loop, load) for load in walk(loop, Load)]
                    found = list(dict.fromkeys(p for p in panels if p is not None))
                    if len(found) == 1:
                        _fetch_next(loop, found[0], rewriter, names)


@dataclass(frozen=True, slots=True)
class _Panel:
    """What one pass over the rows reads again and again."""

    next: Access  # the first element of the one behind it
    elements: int
    visits: Dim  # how often it is read
    number: Dim  # of the visit, from 0 on
    along: tuple[Axis, ...]  # the loops of a visit


def _is_innermost(loop: For) -> bool:
    return [o.axis for o in walk(loop, For) if o.axis.kind == "sequential"] == [loop.axis]


def _panel(function: KernelFunc, loop: For, load: Load) -> _Panel | None:
    buffer = load.source.value
    if buffer not in function.parameters or buffer in function.written or load.lanes == 1:
        return None
    assert isinstance(buffer.type, BufferType)
    start = buffer.type.element_at(load.source.map.indices)
    tasks, along = _axes_around(loop)
    mentioned = set(start.symbols)
    place = next((n for n, a in enumerate(tasks) if a.name in mentioned), len(tasks))
    visits = tasks[place + 1 :]
    if all(a.name in mentioned or a.extent == Dim.constant(1) for a in visits):
        return None
    pieces = [a for a in (*visits, *along) if a.name in mentioned]
    elements = _elements(start, tasks[place], pieces)
    if elements is None or pieces[-len(along) :] != along or not all(a.extent.is_constant for a in along):
        return None
    inside = [*(a.name for a in pieces), *(o.axis.name for o in walk(loop, For))]
    behind = dict.fromkeys(inside, Dim.constant(0)) | {tasks[place].name: Dim.symbol(tasks[place].name) + 1}
    first = Access(buffer, load.source.map.substitute(behind))
    return _Panel(first, elements, _product(visits), _number(visits), tuple(along))


def _axes_around(loop: For) -> tuple[list[Axis], list[Axis]]:
    """(the task axes, the axes of the loops inside them down to `loop`), outermost first."""
    tasks: list[Axis] = []
    along = [loop.axis]
    for above in loop.ancestors():
        if isinstance(above, Parallel):
            tasks = [*above.axes, *tasks]
        elif isinstance(above, For):
            along.insert(0, above.axis)
    return tasks, along


def _elements(start: Dim, panel: Axis, pieces: Sequence[Axis]) -> int | None:
    """Of a panel whose pieces, and their elements, lie one behind the other in the order of the axes."""
    splits = [start.linear(a.name) for a in (panel, *pieces)]
    sizes = [split[0] for split in splits if split is not None]
    whole = len(sizes) == len(splits) and all(
        large == small * a.extent for large, small, a in zip(sizes, sizes[1:], pieces, strict=False)
    )
    return sizes[0].value if whole and sizes[0].is_constant else None


def _fetch_next(loop: For, panel: _Panel, rewriter: Rewriter, names: Names) -> None:
    """Splits the loop, and fetches a line or a few in each iteration of the outer one."""
    axis, kind = loop.axis, panel.next.value.type
    assert isinstance(kind, BufferType)
    line = LINE // kind.dtype.bytes
    steps = _product(panel.along).value
    every = OFTEN
    if panel.visits.is_constant:
        every = min(max(panel.visits.value * steps * line // panel.elements, 1), axis.extent.value)
    every = max(n for n in range(1, every + 1) if axis.extent.value % n == 0)
    if every == 1:
        turns, builder = panel.along, rewriter.end_of(loop.body.block, loop.location)
    else:
        outer, inner = names.fresh(f"{axis.name}_o"), names.fresh(f"{axis.name}_i")
        turns = (*panel.along[:-1], Axis(outer, "sequential", axis.extent // every))
        around = rewriter.before(loop).add(For(turns[-1:], Region()))
        builder = rewriter.end_of(around.body.block, loop.location)

    times = panel.visits * _product(turns)
    lines = ceildiv(panel.elements, times * line).value if times.is_constant else 1
    first = (panel.number * _product(turns) + _number(turns)) * (line * lines)
    covered = times.is_constant and times.value * line * lines <= panel.elements
    *high, last = panel.next.map.indices
    with guarded(builder, [] if covered else [panel.elements - 1 - first]):
        for number in range(lines):
            place = AccessMap((*high, last + first + number * line))
            builder.add(Prefetch(Access(panel.next.value, place)))

    if every > 1:
        rewriter.move_before(loop, around.body.block.operations[0])
        rewrite_formulas(loop, rewriter, {axis.name: Dim.symbol(outer) * every + Dim.symbol(inner)})
        rewriter.set_attribute(loop, "axes", (Axis(inner, "sequential", Dim.constant(every)),))


def _product(axes: Sequence[Axis]) -> Dim:
    return prod((a.extent for a in axes), start=Dim.constant(1))


def _number(axes: Sequence[Axis]) -> Dim:
    """Of the present turn of the nest, counted from 0."""
    number = Dim.constant(0)
    for axis in axes:
        number = number * axis.extent + Dim.symbol(axis.name)
    return number
