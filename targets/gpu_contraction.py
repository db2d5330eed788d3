"""Contractions on GPUs: tiles of both operands in shared memory, a register tile for each thread.

In: the plan of a reduction.  Out: the passes that shape it, as pipeline text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt, prod

from headrace.ir.access import Axis
from headrace.ir.core import contains
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.kernel.ops.convert import Holds, Index
from headrace.ir.kernel.ops.structured import Reduce
from headrace.passes.lowering.boxes import box
from headrace.targets.cpu_contraction import peeled
from headrace.targets.cpu_plan import Plan, symbols

WIDEST = 256  # results of a workgroup along one axis
LEAST = 4  # results of a thread, if there are that many
DEEPEST = 16  # terms that are in shared memory at a time
WEIGHT = 4  # rows of a thread


@dataclass(frozen=True, slots=True)
class Axes:
    """Of a contraction's results: those that only one read moves along, and those that only the other does."""

    rows: Axis
    columns: Axis
    above: Axis | None  # one more that only one read moves along


def tiled_axes(plan: Plan) -> Axes | None:
    """The axes that become tiles; None if there is no reuse."""
    op = plan.op
    if not isinstance(op, Reduce) or len(op.reads) != 2 or contains(op, Index) or contains(op, Holds):
        return None
    *_, last = op.axes
    alone: list[list[Axis]] = []
    for read, other in (op.reads, op.reads[::-1]):
        only = symbols(read) - symbols(other)
        alone.append([a for a in op.axes if a.kind == "parallel" and a.name in only])
    if not all(alone) or last.kind != "reduction":
        return None
    rows, columns = sorted((own[-1] for own in alone), key=op.axes.index)
    above = next((own[-2] for own in alone if len(own) > 1), None)
    local = [rows, columns, last, *([above] if above else [])]
    linear = all(rises(d, a.name) for r in op.reads for d in r.map.indices for a in local)
    return Axes(rows, columns, above) if linear else None


def contraction(plan: Plan, axes: Axes) -> list[str]:
    """A workgroup for each tile of results; all its threads go through the reduction together."""
    tile = shape(plan, axes)
    steps, outer, threads, registers = list[str](), dict[str, str](), list[str](), list[str]()
    if axes.above is not None and tile.layers > 1:
        steps.append(plan.step("tile", axis=axes.above.name, by=tile.layers))
        outer[axes.above.name] = f"{axes.above.name}_o"
        threads.append(f"{axes.above.name}_i")
    for axis, side, own in ((axes.rows, tile.rows, tile.own_rows), (axes.columns, tile.columns, tile.own_columns)):
        steps.append(plan.step("tile", axis=axis.name, by=side))
        steps.append(plan.step("tile", axis=f"{axis.name}_i", by=own))
        outer[axis.name] = f"{axis.name}_o"
        threads.append(f"{axis.name}_i_o")
        registers.append(f"{axis.name}_i_i")
    turns, inner = [a.name for a in tile.turns], [a.name for a in tile.inner]
    left = list[int]()
    if tile.depth:
        last = tile.inner[-1]
        steps.append(plan.step("tile", axis=last.name, by=tile.depth))
        turns.append(f"{last.name}_o")
        inner = [f"{last.name}_i"]
        left = peeled(last.extent, tile.depth)
    grid = [outer.get(a, a) for a in plan.names("parallel")]
    steps.append(plan.step("reorder", axes=[*grid, *threads, *turns, *inner, *registers]))
    steps.append(plan.step("bind", axes=grid, kind="grid"))
    steps.append(plan.step("enclose", axes=grid))
    by_vector = plan.vector_axis() is axes.columns and tile.own_columns > 1
    steps += by_threads(plan, threads, turns, inner, registers, by_vector, [0, 1])
    steps.append(plan.step("double-buffer", axis=turns[-1]))
    if left:
        steps.append(plan.step("peel", axis=inner[-1], sizes=left))
    return steps


def by_threads(
    plan: Plan, threads: list[str], turns: list[str], inner: list[str], registers: list[str], by_vector: bool,
    staged: list[int],
) -> list[str]:  # fmt: skip
    """The steps for a product inside of a loop over workgroups whose axes are in this order: sums in registers, and
    some of its reads through shared memory."""
    unrolled = registers[:-1] if by_vector else registers
    steps = [plan.step("bind", axes=threads, kind="thread"), plan.step("bind", axes=inner, kind="reduction_unroll")]
    steps.append(plan.step("bind", axes=unrolled, kind="unroll"))
    if by_vector:
        steps.append(plan.step("bind", axes=registers[-1:], kind="vector"))
    steps.append(plan.step("enclose", axes=threads))
    steps.append(plan.step("accumulate", axes=turns))
    staging = plan.step("stage-shared", axis=inner[-1], reads=staged, lanes=plan.lanes(), widen=True)
    return [*steps, staging]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a tile of results: what a workgroup has, what each of its threads has of that; and the reduction's loops."""

    layers: int
    rows: int
    columns: int
    own_rows: int
    own_columns: int
    turns: tuple[Axis, ...]
    inner: tuple[Axis, ...]  # written out, as they are or
    depth: int  # so many terms of the one at a time, if this is not 0


def shape(plan: Plan, axes: Axes) -> Shape:
    """A square for each thread, and a square of threads.  Where the extents are too short for that, threads take layers
    of the axis above, or one side grows; what still leaves threads without work makes their squares smaller."""
    facts, columns = plan.facts, axes.columns
    own = 1
    while 4 * own * own * plan.bytes() <= facts.vector_bytes * facts.vector_registers // 2:
        own *= 2
    side = isqrt(facts.group_threads)
    own_rows, high = _rows(axes.rows, own, side)
    wide = power_below(columns, own * side)
    own_columns = min(own, wide)
    idle = facts.group_threads // (high * (wide // own_columns))  # groups of threads that have no work yet
    layers = power_below(axes.above, idle) if axes.above is not None else 1
    idle //= layers
    wider = power_below(columns, min(max(WIDEST, wide), wide * idle))
    idle //= wider // wide
    if wider > wide:
        high = _rows(axes.rows, own_rows, high)[1]
    else:
        own_rows, higher = _rows(axes.rows, own_rows, min(max(WIDEST // own_rows, high), high * idle))
        idle //= higher // high
        high = higher
    while idle > 1 and own_rows * own_columns > LEAST:
        idle //= 2
        if own_rows < own_columns:
            own_columns //= 2
        else:
            own_rows, high = (own_rows + 1) // 2, 2 * high
    turns, inner, depth = _terms(plan)
    tile = Shape(layers, own_rows * high, wider, own_rows, own_columns, turns, inner, depth)
    while _staged(plan, axes, tile) > facts.shared_bytes // 2:
        smaller = _smaller(plan, tile)
        if smaller == tile:
            break
        tile = smaller
    return tile


def _smaller(plan: Plan, tile: Shape) -> Shape:
    """The same with less in shared memory: fewer terms, then fewer threads."""
    if not tile.depth:
        turns, inner, depth = _one_axis(plan)
        return replace(tile, turns=turns, inner=inner, depth=depth)
    if tile.depth > 1:
        return replace(tile, depth=tile.depth // 2)
    if tile.layers > 1:
        return replace(tile, layers=tile.layers // 2)
    if tile.columns > max(tile.rows, tile.own_columns):
        return replace(tile, columns=tile.columns // 2)
    threads = tile.rows // tile.own_rows
    return replace(tile, rows=max(threads // 2, 1) * tile.own_rows)


def _rows(axis: Axis, most: int, threads: int) -> tuple[int, int]:
    """(rows of a thread, threads): at most so many, and few rows beyond the extent."""
    if not axis.extent.is_constant:
        return most, threads

    def cost(own: int) -> float:
        """Of all rows, those beyond the extent included; what a thread loads costs as much as WEIGHT rows."""
        side = power_below(Axis(axis.name, axis.kind, ceildiv(axis.extent, own)), threads)
        return -(-axis.extent.value // (own * side)) * side * (own + WEIGHT)

    own = min(range(min(most, max(axis.extent.value, 1)), max(most // 2, 1) - 1, -1) or [most], key=cost)
    return own, power_below(Axis(axis.name, axis.kind, ceildiv(axis.extent, own)), threads)


def _terms(plan: Plan) -> tuple[tuple[Axis, ...], tuple[Axis, ...], int]:
    """(loops, what is written out inside of them, how many terms of the last of these at a time or 0 for all)."""
    assert isinstance(plan.op, Reduce)
    *others, last = plan.reductions()
    inner, terms = [last], _constant(last)
    while others and terms * _constant(others[-1]) <= 2 * DEEPEST:
        if not all(rises(d, others[-1].name) for r in plan.op.reads for d in r.map.indices):
            break
        terms *= _constant(others[-1])
        inner.insert(0, others.pop())
    if len(inner) > 1 and others:
        return tuple(others), tuple(inner), 0
    return _one_axis(plan)


def _one_axis(plan: Plan) -> tuple[tuple[Axis, ...], tuple[Axis, ...], int]:
    *others, last = plan.reductions()
    return tuple(others), (last,), max(1, min(_constant(last), DEEPEST))


def _constant(axis: Axis) -> int:
    return axis.extent.value if axis.extent.is_constant else 1 << 30


def _staged(plan: Plan, axes: Axes, tile: Shape) -> int:
    """Bytes of both operands' tiles, twice: one is filled while the other is read."""
    sizes = {axes.rows.name: tile.rows, axes.columns.name: tile.columns}
    if axes.above is not None:
        sizes[axes.above.name] = tile.layers
    sizes |= {a.name: _constant(a) for a in tile.inner}
    if tile.depth:
        sizes[tile.inner[-1].name] = tile.depth
    local = [Axis(name, "parallel", Dim.constant(size)) for name, size in sizes.items()]
    assert isinstance(plan.op, Reduce)
    return sum(2 * plan.bytes() * prod(box(i, local).extent for i in r.map.indices) for r in plan.op.reads)


def power_below(axis: Axis, most: int) -> int:
    """`most`, or the first power of two that covers a short axis."""
    if not axis.extent.is_constant:
        return most
    return min(most, 1 << max(axis.extent.value - 1, 0).bit_length())


def rises(formula: Dim, axis: str) -> bool:
    """Whether a formula moves by a constant of 0 or more with the axis."""
    split = formula.linear(axis)
    return split is not None and split[0].is_constant and split[0].value >= 0
