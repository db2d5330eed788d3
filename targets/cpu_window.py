"""Windows on CPUs with vectors: depthwise convolutions and poolings whose channels lie side by side.

In: a plan whose reduction axes are the taps of a window.  Out: passes that make channels lanes and a patch of the
image a register tile, taps written out: an element that several windows of the patch share is loaded once.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from math import prod

from headrace.ir.access import Access, Axis
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.kernel.ops.structured import Reduce
from headrace.targets.cpu_contraction import peeled
from headrace.targets.cpu_plan import Plan, symbols

MOST_TAPS = 32  # of a window; more are a reduction as any other
# Most taps that are written out; of a larger window the rows are a loop, whose addresses all find a register.
WRITTEN_OUT = 16
# Where few registers hold masks of lanes, too: LLVM loads early what is masked.
WRITTEN_OUT_IF_MASKED, REGISTERS_IF_MASKED = 8, 13
LINE = 64  # bytes of a cache line
BLOCK = 256  # bytes of a pixel that one pass over a strip of the image takes
# Rows and columns of the register tile.
PATCHES = ((2, 7), (2, 4), (4, 4), (1, 7), (1, 8), (2, 2), (2, 3), (1, 4), (2, 1), (1, 2), (1, 1))


def is_window(plan: Plan) -> bool:
    """Whether few elements around each point are reduced, all reads being contiguous along the vector axis."""
    op = plan.op
    if not isinstance(op, Reduce) or _image_axes(plan) is None:
        return False
    vector = plan.vector_axis()
    assert vector is not None
    taps = [a.extent for a in plan.reductions()]
    known = all(t.is_constant for t in taps)
    return known and prod(t.value for t in taps) <= MOST_TAPS and all(vector.name in symbols(r) for r in op.reads)


def window(plan: Plan) -> list[str]:
    """Images, blocks of channels, columns, rows, the channels of a block; then taps, and the patch in registers."""
    vector, found = plan.vector_axis(), _image_axes(plan)
    assert vector is not None and found is not None
    column, row = found
    taps = plan.reductions()
    high, wide = _patch(plan, column, row)
    c, tasks = vector.name, plan.names("parallel")
    steps = [plan.step("tile", axis=c, by=plan.lanes())]
    tasks[tasks.index(c)] = f"{c}_o"
    unrolled = []
    for axis, by in ((row, high), (column, wide)):
        if axis is not None and by > 1:
            steps.append(plan.step("tile", axis=axis.name, by=by))
            tasks[tasks.index(axis.name)] = f"{axis.name}_o"
            unrolled.append(f"{axis.name}_i")
    block = _vectors_together(plan, vector)
    if block is not None:
        # What the windows of a strip of the image share stays in the nearest cache from row to row.
        steps.append(plan.step("tile", axis=f"{c}_o", by=block))
        strip = [f"{a.name}_o" if f"{a.name}_i" in unrolled else a.name for a in (column, row) if a is not None]
        rest = [t for t in tasks if t not in (*strip, f"{c}_o")]
        tasks = [*rest, f"{c}_o_o", *strip, f"{c}_o_i"]
    names = [a.name for a in taps]
    written = names[_looped(plan) :]
    steps.append(plan.step("reorder", axes=[*tasks, *names, *unrolled, f"{c}_i"]))
    steps.append(plan.step("bind", axes=tasks, kind="task"))
    if written:
        steps.append(plan.step("bind", axes=written, kind="reduction_unroll"))
    if unrolled:
        steps.append(plan.step("bind", axes=unrolled, kind="unroll"))
    steps.append(plan.step("bind", axes=[f"{c}_i"], kind="vector"))
    sizes = peeled(column.extent, wide)
    if sizes:
        steps.append(plan.step("peel", axis=f"{column.name}_i", sizes=sizes))
    return steps


def _image_axes(plan: Plan) -> tuple[Axis, Axis | None] | None:
    """The axis of columns and that of rows, if any: those whose index a tap is added to."""
    vector = plan.vector_axis()
    taps = {a.name for a in plan.reductions()}
    if vector is None or not isinstance(plan.op, Reduce):
        return None
    names = {s for r in plan.op.reads for d in r.map.indices if taps & set(d.symbols) for s in d.symbols}
    found = [a for a in plan.op.axes if a.name in names and a.kind == "parallel"]
    if not found or vector in found:  # lanes along the columns: neighbouring windows overlap in them
        return None
    return found[-1], found[-2] if len(found) > 1 else None


def _looped(plan: Plan) -> int:
    """How many of the first axes of taps are loops."""
    extents = [a.extent.value for a in plan.reductions()]
    most = WRITTEN_OUT_IF_MASKED if _holds_masks(plan) else WRITTEN_OUT
    return next(n for n in range(len(extents) + 1) if prod(extents[n:]) <= most)


def _holds_masks(plan: Plan) -> bool:
    """Whether some vectors lack lanes, and masks compete with them for few registers."""
    vector = plan.vector_axis()
    assert vector is not None
    whole = vector.extent.is_constant and vector.extent.value % plan.lanes() == 0
    return not whole and plan.facts.vector_registers < 32


def _vectors_together(plan: Plan, vector: Axis) -> int | None:
    """How many vectors of a pixel make a block of whole lines; None for pixels so short that rows go in their order in
    memory, which a core reads ahead by itself."""
    count, bytes_ = ceildiv(vector.extent, plan.lanes()), plan.facts.vector_bytes
    if not count.is_constant or count.value * bytes_ < 2 * BLOCK:
        return None
    blocks = range(max(LINE // bytes_, 1), BLOCK // bytes_ + 1)
    return max((n for n in blocks if count.value % n == 0), default=count.value)


def _patch(plan: Plan, column: Axis, row: Axis | None) -> tuple[int, int]:
    """Rows and columns of the register tile: the patch with the least estimated time that fits the image's rows."""
    assert isinstance(plan.op, Reduce)
    one = Dim.constant(1)
    taps = plan.reductions()
    written = tuple(a.extent.value for a in taps[_looped(plan) :])
    extents = [d.value if d.is_constant else 64 for d in (row.extent if row else one, column.extent)]
    reads = list(plan.op.reads)
    image = next(r for r in reads if column.name in symbols(r))
    strides = [_stride(image, a) for a in (row, column)]
    registers = min(plan.registers(), REGISTERS_IF_MASKED) if _holds_masks(plan) else plan.registers()
    return _best((extents[0], extents[1]), (strides[0], strides[1]), written, len(reads) > 1, registers)


def _stride(read: Access, axis: Axis | None) -> int:
    """By how much the index moves from one point to the next."""
    if axis is None:
        return 1
    index = next(d for d in read.map.indices if axis.name in d.symbols)
    split = index.linear(axis.name)
    return split[0].value if split is not None and split[0].is_constant else 1


@cache
def _best(
    extents: tuple[int, int], strides: tuple[int, int], taps: tuple[int, ...], weighted: bool, registers: int
) -> tuple[int, int]:
    def time(patch: tuple[int, int]) -> float:
        return sum(
            many * _cycles((patch[0], width), strides, taps, weighted)
            for width, many in ((patch[1], extents[1] // patch[1]), (extents[1] % patch[1], 1))
            if width
        ) * (extents[0] // patch[0])

    def fits(patch: tuple[int, int]) -> bool:
        return extents[0] % patch[0] == 0 and patch[1] <= extents[1] and _live(patch, strides, taps) <= registers

    return min(filter(fits, PATCHES), key=time)


def _live(patch: tuple[int, int], strides: tuple[int, int], taps: tuple[int, ...]) -> int:
    """Registers that a patch takes at most: its sums, a weight, and each input from its first use to its last."""
    rows, columns = (1, *taps)[-2:]
    order = [*product(range(prod(taps[:-2])), range(rows), range(columns), range(patch[0]), range(patch[1]))]
    uses = [(far, y * strides[0] + row, x * strides[1] + column) for far, row, column, y, x in order]
    last = {place: time for time, place in enumerate(uses)}
    live, most = set[tuple[int, int, int]](), 0
    for time, place in enumerate(uses):
        live.add(place)
        most = max(most, len(live))
        if last[place] == time:
            live.remove(place)
    return prod(patch) + 1 + most


def _cycles(patch: tuple[int, int], strides: tuple[int, int], taps: tuple[int, ...], weighted: bool) -> float:
    """Of one vector of channels: two multiply-adds or loads start in a cycle; a sum waits four for its last term."""
    window = (1, *taps)[-2:]
    inputs = prod(min((n - 1) * s + k, n * k) for n, s, k in zip(patch, strides, window, strict=True))
    all_taps = prod(taps)
    work = prod(patch) * all_taps
    return max(work / 2, (inputs + weighted * all_taps) / 2, 4.0 * all_taps) + 4
