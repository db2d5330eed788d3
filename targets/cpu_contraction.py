"""Register tiles for contractions on CPUs with vectors: how many rows, how many vectors, what is left over.

In: a reduce of one multiply-add, its row axes and its vector axis, and the target's facts.  Out: the passes that make
the tile, as pipeline text.

The inner loop loads a few vectors of one operand and one element of the other for each row, and multiplies each with
each.  `TILES` lists the shapes that keep all sums in registers; the one with the least estimated time over the whole
extent, remainders included, is taken.  A convolution's rows may be a patch of its image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil

from headrace.ir.access import REDUCTIONS, Axis
from headrace.ir.core import Value, contains, producer, walk
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.kernel.ops.structured import Reduce
from headrace.ir.module import module_of
from headrace.ir.program.ops.program import Constant, Launch
from headrace.targets.cpu_plan import Plan, symbols

# (rows, vectors) by number of vector registers; sums, the loaded vectors and one element must fit.
TILES = {
    16: (
        (6, 2), (4, 3), (5, 2), (3, 3), (4, 2), (2, 4), (2, 5), (1, 8), (1, 4), (2, 2), (6, 1), (4, 1), (2, 1), (1, 2),
        (1, 1),
    ),
    32: (
        (6, 4), (8, 3), (7, 3), (12, 2), (4, 6), (5, 4), (6, 3), (3, 8), (2, 8), (1, 8), (8, 2), (7, 2), (4, 2), (1, 4),
        (8, 1), (4, 1), (2, 2), (2, 1), (1, 2), (1, 1),
    ),
}  # fmt: skip
BUSY = 8  # independent sums that keep two multiply-add units of four cycles' latency busy
UNKNOWN = 128  # what an extent is taken for that is known at run time only
# Rows: a tile for many, whose number leaves no remainder to prefer one height for, is to be good for a single one, too.
UNKNOWN_ROWS = (1, 120, 120, 120, 120)
# What rows left over cost besides their steps, by lanes: a loop of their own.  Of tiles that should take equal time,
# those that divide the rows took 7 % less with AVX-512, and 5 % more with AVX2.
UNEVEN = {16: 1.0025}
FROM_CACHE = 1.25  # cycles that a vector of a single row takes, which no other row shares


def is_contraction(plan: Plan) -> bool:
    """Whether two reads meet in one multiply-add, one of them contiguous along the vector axis, the other not on it."""
    op = plan.op
    if not isinstance(op, Reduce) or len(op.accumulators) != 1:
        return False
    reduced = set(plan.names(*REDUCTIONS))
    factors = [r for r in op.reads if reduced & symbols(r)]  # others are the same in every step: a scale of weights
    if len(factors) != 2:
        return False
    axis = plan.vector_axis()
    if axis is None or not contains(op, MulAdd) or not _row_axes(plan, axis):
        return False
    return sorted(axis.name in symbols(r) for r in factors) == [False, True]


def contraction(plan: Plan) -> list[str]:
    """Panels of vectors outermost, then rows; a panel stays in the cache while the rows pass."""
    vector = plan.vector_axis()
    assert vector is not None
    rows = _row_axes(plan, vector)
    row, above = rows[-1], rows[-2] if len(rows) > 1 else None
    lanes = plan.lanes()
    one = Dim.constant(1)
    shape = best_shape(row.extent, above.extent if above else one, vector.extent, lanes, plan.registers())
    v, r, width = vector.name, row.name, lanes * shape.vectors
    reductions = [a.name for a in plan.op.axes if a.kind == "reduction"]
    steps = [plan.step("tile", axis=v, by=width)]
    tasks = [a.name for a in plan.op.axes if a.kind == "parallel" and a is not vector]
    unrolled = []
    for axis, by in ((above, shape.above), (row, shape.rows)):
        if axis is not None and by > 1:
            steps.append(plan.step("tile", axis=axis.name, by=by))
            tasks[tasks.index(axis.name)] = f"{axis.name}_o"
            unrolled.append(f"{axis.name}_i")
    pack = packable(plan, v)
    inner = [f"{v}_i"]
    if shape.vectors > 1:
        steps.append(plan.step("tile", axis=f"{v}_i", by=lanes))
        inner = [f"{v}_i_o", f"{v}_i_i"]
    if pack is not None:
        steps.append(plan.step("pack", parameter=pack[0], dim=pack[1], by=width))
    block = _panels_together(plan, vector, width)
    if block > 1:
        # The rows of a tile are read from the nearest cache for all panels of a block but the first.
        steps.append(plan.step("tile", axis=f"{v}_o", by=block))
        tasks = [f"{v}_o_o", *tasks, f"{v}_o_i"]
    else:
        tasks.insert(0, f"{v}_o")
    steps.append(plan.step("reorder", axes=[*tasks, *reductions, *unrolled, *inner]))
    steps.append(plan.step("bind", axes=tasks, kind="task"))
    if unrolled or inner[:-1]:
        steps.append(plan.step("bind", axes=[*unrolled, *inner[:-1]], kind="unroll"))
    steps.append(plan.step("bind", axes=inner[-1:], kind="vector"))
    sizes = peeled(row.extent, shape.rows)
    if sizes:
        steps.append(plan.step("peel", axis=f"{r}_i", sizes=sizes))
    return steps


def _row_axes(plan: Plan, vector: Axis) -> list[Axis]:
    """The parallel axes that only the other read mentions: each row of the tile reuses the vectors."""
    assert isinstance(plan.op, Reduce)
    wide = [r for r in plan.op.reads if vector.name in symbols(r)]
    return [
        a
        for a in plan.op.axes
        if a.kind == "parallel" and a is not vector and not any(a.name in symbols(r) for r in wide)
    ]


def _panels_together(plan: Plan, vector: Axis, width: int) -> int:
    """How many panels of the wide operand half of the second-level cache holds."""
    steps = 1
    for axis in plan.op.axes:
        if axis.kind == "reduction":
            steps *= max(axis.extent.value, 1) if axis.extent.is_constant else UNKNOWN
    most = plan.facts.l2_bytes // 2 // (steps * width * 4)
    panels = ceildiv(vector.extent, width)
    if not panels.is_constant:
        return max(1, min(most, 4))
    return max((n for n in range(1, min(most, 8) + 1) if panels.value % n == 0), default=1)


def packable(plan: Plan, axis: str) -> tuple[int, int] | None:
    """(parameter, dim) of the contiguous read if it can be packed: constant in every launch, indexed plainly."""
    assert isinstance(plan.op, Reduce)
    for read in plan.op.reads:
        places = [i for i, d in enumerate(read.map.indices) if axis in d.symbols]
        if not places:
            continue
        number = list[Value](plan.function.parameters).index(read.value)
        launches = [o for o in walk(module_of(plan.function), Launch) if o.kernel.name == plan.name]
        constant = all(producer(o.buffers[number], Constant) is not None for o in launches)
        plain = len(places) == 1 and read.map.indices[places[0]] == Dim.symbol(axis) and read.map.otherwise is None
        uses = len(read.value.uses)
        return (number, places[0]) if launches and constant and plain and uses == 1 else None
    return None


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a register tile: rows of the last axis, rows of the axis before it, vectors."""

    rows: int
    above: int
    vectors: int


def best_shape(rows: Dim, above: Dim, columns: Dim, lanes: int, registers: int) -> Shape:
    """The tile for a result of `above` times `rows` rows and `columns` columns.

    Of two numbers of rows known at run time only, the second one fills the tile: the first may be a batch of 1.
    """
    counts = (rows.value,) if rows.is_constant else UNKNOWN_ROWS
    layers = above.value if above.is_constant else UNKNOWN if max(counts) < BUSY else 1
    wide = columns.value if columns.is_constant else UNKNOWN
    return _best(counts, layers, wide, lanes, registers)


@cache
def _best(counts: tuple[int, ...], above: int, columns: int, lanes: int, registers: int) -> Shape:
    found: list[tuple[float, int, Shape]] = []
    tiles = TILES[32 if registers >= 32 else 16]
    for number, (height, width) in enumerate(tiles):
        if height * width + (width if height > 1 else 1) + 1 > registers:
            continue
        for low, high in _splits(height):
            if (low <= max(counts) and high <= above) or (high == 1 and low == 1):
                shape = Shape(low, high, width)
                load = FROM_CACHE if len(counts) > 1 else 0.0
                time = sum(_time(rows, above, columns, lanes, shape, load) / rows for rows in counts)
                even = max(counts) % low == 0 and above % high == 0
                found.append((time if even else time * UNEVEN.get(lanes, 1.0), number, shape))
    if not found:
        return Shape(1, 1, tiles[-1][1])
    return min(found, key=lambda f: f[:2])[2]


def _splits(height: int) -> Iterator[tuple[int, int]]:
    """(rows of the last axis, rows of the one before), the plain one first."""
    yield height, 1
    for high in range(2, height):
        if height % high == 0:
            yield height // high, high


def _time(rows: int, above: int, columns: int, lanes: int, shape: Shape, load: float) -> float:
    """Cycles for each step of the reduction, over the whole result."""
    heights = [(shape.rows, rows // shape.rows)]
    heights += [(p, 1) for p in pieces(rows % shape.rows)]
    layers = [(shape.above, above // shape.above)] + [(p, 1) for p in pieces(above % shape.above)]
    panels = ceil(columns / (lanes * shape.vectors))
    return sum(
        many * often * panels * _cycles(height * layer, shape.vectors, load)
        for height, many in heights
        for layer, often in layers
    )


def pieces(left: int) -> list[int]:
    """The tiles for `left` rows that are known to be left over."""
    return [left] if left else []


def peeled(extent: Dim, tile: int) -> list[int]:
    """The sizes for `kernel.peel`: the remainder if it is known, else each power of two; none if the tile divides."""
    if not extent.is_constant:
        return [1 << n for n in reversed(range((tile - 1).bit_length()))]
    return pieces(extent.value % tile)


def _cycles(rows: int, vectors: int, load: float) -> float:
    """Of one step: two multiply-adds and two loads start in a cycle, a sum waits four for its next term; `load` cycles
    for a vector to come from the cache."""
    return max(rows * vectors / 2, (rows + vectors) / 2, BUSY / 2, load * vectors) + vectors / 64
