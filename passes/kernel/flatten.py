"""kernel.flatten: make one axis of neighbouring axes that only count rows.

Before:
    program.launch buffers(%x, %w, %y) {kernel = @dense, scalars = [batch, seq]}
    kernel.func @dense(%x: buffer<f32[batch, seq, 64]>, %w: buffer<f32[64, 10]>, %y: buffer<f32[batch, seq, 10]>) {
      kernel.reduce (i: parallel batch, j: parallel seq, n: parallel 10, k: reduction 64)
          reads(%x[i, j, k], %w[k, n]) writes(%y[i, j, n]) ...
    }
After:
    %0 = program.view %x {type = buffer<f32[batch*seq, 64]>, offset = 0}
    %1 = program.view %y {type = buffer<f32[batch*seq, 10]>, offset = 0}
    program.launch buffers(%0, %w, %1) {kernel = @dense, scalars = [batch, seq]}
    kernel.func @dense(%x: buffer<f32[batch*seq, 64]>, %w: buffer<f32[64, 10]>, %y: buffer<f32[batch*seq, 10]>) {
      kernel.reduce (i: parallel batch*seq, n: parallel 10, k: reduction 64) reads(%x[i, k], %w[k, n]) ...
    }

So a register tile goes through all rows, however they are spread over the dims, and none is wasted where one of these
dims is 1.  Two axes become one if each access mentions both, as neighbouring indices into dims that lie one behind the
other in memory, or neither.  The innermost axis of a map stays, since it becomes lanes.

Needs: kernels before a schedule.  Leaves: fewer axes, and views in the program.  Refuses: constants whose dims would
change, since `kernel.pack` wants them as they are; and kernels that are neither one operation nor a `kernel.parallel`
of some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import BlockArgument, Operation, OpResult, Value, producer, walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Constant, Launch, Loop, Read, View
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.symbols import axes_of, formulas
from headrace.ir.types import BufferType

FIELDS = ("reads", "late", "writes", "lookups")


@dataclass(frozen=True)
class Flatten(Pass):
    """No options."""

    summary = "make one axis of neighbouring axes that only count rows"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        launches: dict[str, list[Launch]] = {}
        for launch in walk(module, Launch):
            launches.setdefault(launch.kernel.name, []).append(launch)
        for function in module.functions(KernelFunc):
            rows = _Rows.of(function)
            if rows is not None:
                _flatten(rows, launches.get(function.function_name, []), rewriter)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A kernel whose parallel axes all stand at one operation, `holder`: a `kernel.parallel`, or the only operation."""

    function: KernelFunc
    holder: Parallel | Map | Reduce
    ops: tuple[Map | Reduce, ...]

    @staticmethod
    def of(function: KernelFunc) -> _Rows | None:
        body = function.block.operations
        holder = body[0] if len(body) == 1 else None
        ops = tuple(o for o in walk(function, Structured) if isinstance(o, Map | Reduce))
        return _Rows(function, holder, ops) if isinstance(holder, Parallel | Map | Reduce) else None

    def candidates(self) -> Iterator[tuple[Axis, Axis]]:
        """Neighbouring parallel axes; not the one that a map's results are contiguous along."""
        axes: Sequence[Axis] = self.holder.axes
        if isinstance(self.holder, Map):
            last = self.holder.writes[0].map.indices[-1:]
            axes = [a for a in axes if Dim.symbol(a.name) not in last]
        yield from ((a, b) for a, b in pairwise(axes) if a.kind == b.kind and a.kind in ("parallel", "task"))

    def accesses(self) -> Iterator[Access]:
        for op in self.ops:
            for field in FIELDS:
                yield from getattr(op, field, ())


def _flatten(rows: _Rows, launches: Sequence[Launch], rewriter: Rewriter) -> None:
    """Pair after pair, until none is left."""
    while True:
        for outer, inner in rows.candidates():
            places = _places(rows, outer, inner)
            if places is not None and not _is_constant(places, launches):
                _merge(rows, outer, inner, places, launches, rewriter)
                break
        else:
            return


def _places(rows: _Rows, outer: Axis, inner: Axis) -> dict[BlockArgument, int] | None:
    """Which dim of each parameter `outer` counts, `inner` being the next; None where the two cannot be one."""
    if _is_mentioned_elsewhere(rows, {outer.name, inner.name}):
        return None
    found: dict[Value, set[int | None]] = {}
    for access in rows.accesses():
        mentioned = [i for i, d in enumerate(access.map.indices) if {outer.name, inner.name} & set(d.symbols)]
        place = _place(access, outer, inner, mentioned)
        if mentioned and place is None:
            return None
        found.setdefault(access.value, set()).add(place)
    if any(len(places) > 1 for places in found.values()):
        return None
    single = {value: place for value, (place,) in found.items() if place is not None}
    parameters = {v: p for v, p in single.items() if isinstance(v, BlockArgument) and v in rows.function.parameters}
    if any(user not in rows.ops for parameter in parameters for user in parameter.users):
        return None  # a load or a product of tiles counts on its dims
    return parameters if len(parameters) == len(single) else None


def _place(access: Access, outer: Axis, inner: Axis, mentioned: Sequence[int]) -> int | None:
    """The dim that `outer` counts, if it and the next are all that mention the axes, and one lies behind the other."""
    kind = access.value.type
    assert isinstance(kind, BufferType)
    if len(mentioned) != 2 or kind.strides is not None:
        return None
    first, second = mentioned
    indices = tuple(access.map.indices[first : second + 1])
    together = indices == (Dim.symbol(outer.name), Dim.symbol(inner.name))
    return first if together and kind.dims[second] == inner.extent else None


def _is_mentioned_elsewhere(rows: _Rows, names: set[str]) -> bool:
    """Whether a formula that is no index of an access speaks of the axes."""
    for operation in rows.function.walk():
        if any(names & set(a.extent.symbols) for a in axes_of(operation)):
            return True
        for name, attribute in operation.attributes.items():
            if name not in FIELDS and any(names & set(d.symbols) for d in formulas(attribute)):
                return True
    return False


def _is_constant(places: Mapping[BlockArgument, int], launches: Sequence[Launch]) -> bool:
    return any(producer(o.buffers[p.index], Constant) is not None for o in launches for p in places)


def _merge(
    rows: _Rows,
    outer: Axis,
    inner: Axis,
    places: Mapping[BlockArgument, int],
    launches: Sequence[Launch],
    rewriter: Rewriter,
) -> None:
    """`outer` counts for both."""
    both = replace(outer, extent=outer.extent * inner.extent)
    axes = tuple(both if a is outer else a for a in rows.holder.axes if a is not inner)
    rewriter.set_attribute(rows.holder, "axes", axes)
    for op in rows.ops:
        for field in FIELDS:
            accesses: Sequence[Access] = getattr(op, field, ())
            maps = tuple(_without(a.map, inner) if a.value in places else a.map for a in accesses)
            if maps != tuple(a.map for a in accesses):
                rewriter.set_attribute(op, field, maps)
    for parameter, place in places.items():
        parameter.type = _joined(parameter.type, place)
        for launch in launches:
            _view(launch, parameter.index, place, rewriter)


def _without(map: AccessMap, inner: Axis) -> AccessMap:
    return replace(map, indices=tuple(d for d in map.indices if d != Dim.symbol(inner.name)))


def _joined(kind: object, place: int) -> BufferType:
    assert isinstance(kind, BufferType)
    dims = kind.dims
    return replace(kind, dims=(*dims[:place], dims[place] * dims[place + 1], *dims[place + 2 :]))


def _view(launch: Launch, number: int, place: int, rewriter: Rewriter) -> None:
    """Gives the launch the same memory with one dim less; one view serves all launches."""
    buffer = launch.buffers[number]
    kind = _joined(buffer.type, place)
    known = next((u for u in buffer.users if isinstance(u, View) and u.type == kind and _is_before(u, launch)), None)
    if known is None:
        known = _behind(buffer, kind, launch, rewriter).add(View(buffer, kind, Dim.constant(0)), buffer.hint)
    rewriter.set_operand(launch, number, known.result)


def _behind(buffer: Value, kind: BufferType, launch: Launch, rewriter: Rewriter) -> Builder:
    """A builder where the buffer has just come to be; the caller's, once its dims are known."""
    if isinstance(buffer, OpResult):
        return rewriter.after(buffer.operation)
    assert launch.parent is not None
    operations = launch.parent.operations
    symbols = {s for d in kind.dims for s in d.symbols}
    binding = [o for o in operations if symbols.intersection(_bound(o))]
    return rewriter.after(binding[-1]) if binding else rewriter.before(operations[0])


def _bound(operation: Operation) -> Sequence[str]:
    """The symbols that are known behind it."""
    match operation:
        case Read():
            return (operation.symbol,)
        case Loop():
            return operation.symbols
    return ()


def _is_before(view: View, launch: Launch) -> bool:
    """Whether the launch sees the view: it stands in the same block above it, or right behind the buffer."""
    if view.parent is not launch.parent:
        return isinstance(view.x, OpResult) and view.x.operation.parent is view.parent
    block = launch.parent
    assert block is not None
    return block.position(view) < block.position(launch)
