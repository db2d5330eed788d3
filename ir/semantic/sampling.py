"""Comparing a kernel in a few places, where running all of it would take too long.

In: a kernel before and after a pass.  Out: outcomes that hold the same elements of the outputs, or None where
such elements cannot be told apart from the rest.

Chosen are the first tasks along every axis, the last ones, and some in between: neighbours, so that an element
that is lost between two tiles lies among others that are not.  A structured kernel has no tasks; it runs the points
that write the wanted elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from headrace.ir.access import SEQUENTIAL
from headrace.ir.core import walk
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Store
from headrace.ir.kernel.ops.structured import Structured
from headrace.ir.kernel.tasks import task_axes
from headrace.ir.semantic.cases import Case, kernel_cost
from headrace.ir.semantic.compare import Outcome
from headrace.ir.types import BufferType

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Box = tuple[tuple[int, int], ...]

WORK = 1_000_000  # what the chosen part of a kernel may take


def sampled(
    before: KernelFunc, after: KernelFunc, inputs: Sequence[Array], case: Case, *, wide: bool
) -> tuple[Outcome, Outcome, Outcome | None] | None:
    """(before, after, before in float64 if wanted) at the same elements; None if the kernels are of other forms."""
    if _is_structured(before) and _is_structured(after):
        wanted = _wanted_boxes(after, case)
        if wanted is None:
            return None
        old, new = (_points(f, inputs, case, wanted) for f in (before, after))
        return old, new, _points(before, inputs, case, wanted, wide=True) if wide else None
    if not _has_tasks(after, case):
        return None
    blocks = _task_blocks(after, case)
    if _is_structured(before):
        return _structured_against_tasks(before, after, inputs, case, blocks, wide=wide)
    if not _has_tasks(before, case) or _extents(before, case) != _extents(after, case):
        return None
    tasks = sorted({t for block in blocks for t in block})
    old, new = (_tasks(f, inputs, case, tasks) for f in (before, after))
    return old, new, _tasks(before, inputs, case, tasks, wide=True) if wide else None


def _structured_against_tasks(
    before: KernelFunc,
    after: KernelFunc,
    inputs: Sequence[Array],
    case: Case,
    blocks: Sequence[Sequence[int]],
    *,
    wide: bool,
) -> tuple[Outcome, Outcome, Outcome | None] | None:
    runs = [_tasks(after, inputs, case, block) for block in blocks]
    new = _union(runs)
    wanted = [np.zeros(w.shape, np.bool_) for w in new.written]
    for run in runs:
        for mask, written in zip(wanted, run.written, strict=True):
            mask |= _filled_box(written)
    if not all(_holds_corners(w) for w in new.written):
        return None  # an end of an output is missing: rightly or not, only a whole run can tell
    old = _points(before, inputs, case, wanted)
    # A point may write more than one output; only what was wanted of each can be compared.
    kept = [o & w for o, w in zip(old.written, wanted, strict=True)]
    return Outcome(old.outputs, kept), new, _points(before, inputs, case, wanted, wide=True) if wide else None


def _union(runs: Sequence[Outcome]) -> Outcome:
    outputs = [o.copy() for o in runs[0].outputs]
    written = [w.copy() for w in runs[0].written]
    for run in runs[1:]:
        for number, mask in enumerate(run.written):
            outputs[number][mask] = run.outputs[number][mask]
            written[number] |= mask
    return Outcome(outputs, written)


def _is_structured(function: KernelFunc) -> bool:
    body = function.block.operations
    one = len(body) == 1 and isinstance(body[0], Structured)
    return one and all(a.kind not in SEQUENTIAL for a in body[0].axes)  # type: ignore[attr-defined]


def _has_tasks(function: KernelFunc, case: Case) -> bool:
    body = function.block.operations
    alone = len(body) == 1 and isinstance(body[0], Parallel)
    return alone and bool(task_axes(function)) and all(_extents(function, case))


def _extents(function: KernelFunc, case: Case) -> list[int]:
    return [int(a.extent.evaluate(dict(case))) for a in task_axes(function)]


def _points(
    function: KernelFunc, inputs: Sequence[Array], case: Case, wanted: Sequence[Array], *, wide: bool = False
) -> Outcome:
    run = run_kernel(function, inputs, dict(case), wanted=wanted, wide=wide)
    return Outcome(run.outputs, [w & m for w, m in zip(run.written, wanted, strict=True)])


def _tasks(
    function: KernelFunc, inputs: Sequence[Array], case: Case, tasks: Sequence[int], *, wide: bool = False
) -> Outcome:
    run = run_kernel(function, inputs, dict(case), tasks=tasks, wide=wide)
    return Outcome(run.outputs, run.written)


# ---- which tasks, which elements -------------------------------------------------------------------------------


def _task_blocks(function: KernelFunc, case: Case) -> list[list[int]]:
    """Flat numbers of the first, the last and some middle tasks, two neighbours along each axis that moves them by the
    least: blocks of other tasks lie between the neighbours along another."""
    extents = _extents(function, case)
    share = kernel_cost(function, dict(case)).work // max(int(np.prod(extents)), 1)
    many = 2 if share * 3 << len(extents) <= WORK else 1
    apart = _axes_of_blocks(function)
    widths = [1 if axis.name in apart else many for axis in task_axes(function)]
    rng = np.random.default_rng(len(extents))
    starts = ([0] * len(extents), extents, [int(rng.integers(0, n)) for n in extents])
    blocks = []
    for start in starts:
        lowest = [max(0, min(a, n - w)) for a, n, w in zip(start, extents, widths, strict=True)]
        ranges = [range(a, min(n, a + w)) for a, n, w in zip(lowest, extents, widths, strict=True)]
        blocks.append([int(np.ravel_multi_index(point, extents)) for point in product(*ranges)])
    return blocks


def _axes_of_blocks(function: KernelFunc) -> set[str]:
    """The task axes that move an index of an output by more than another one does."""
    names = {a.name for a in task_axes(function)}
    found = set[str]()
    for store in walk(function, Store):
        for index in store.target.map.indices if store.target.value in function.written else ():
            splits = {s: index.linear(s) for s in index.symbols if s in names}
            steps = {s: abs(v[0].value) for s, v in splits.items() if v is not None and v[0].is_constant}
            found |= {s for s, step in steps.items() if step > min(steps.values())}
    return found


def _wanted_boxes(function: KernelFunc, case: Case) -> list[Array] | None:
    """Boxes at both ends of the outputs and somewhere between; None if outputs have several shapes."""
    shapes = [_shape(p.type, case) for p in function.written]
    if len(set(shapes)) != 1 or not all(shapes[0]):
        return None
    shape = shapes[0]
    elements = int(np.prod(shape))
    share = max(kernel_cost(function, dict(case)).work // max(elements, 1), 1)
    edge = max(2, int((WORK / 3 / share) ** (1 / len(shape)))) if shape else 1
    rng = np.random.default_rng(elements)
    mask = np.zeros(shape, np.bool_)
    for start in ([0] * len(shape), [max(n - edge, 0) for n in shape], [int(rng.integers(0, n)) for n in shape]):
        mask[tuple(slice(a, a + edge) for a in start)] = True
    return [mask] * len(shapes)


def _shape(kind: object, case: Case) -> Shape:
    assert isinstance(kind, BufferType)
    return tuple(int(d.evaluate(dict(case))) for d in kind.dims)


def _filled_box(written: Array) -> Array:
    """The smallest box around what was written, so that holes in it are seen; what was written, if that is sparse."""
    places = np.argwhere(written)
    if not len(places):
        return written
    box = np.zeros(written.shape, np.bool_)
    box[tuple(slice(a, b + 1) for a, b in zip(places.min(axis=0), places.max(axis=0), strict=True))] = True
    return box if np.count_nonzero(box) <= 4 * len(places) else written


def _holds_corners(written: Array) -> bool:
    return bool(written.size == 0 or (written.reshape(-1)[0] and written.reshape(-1)[-1]))
