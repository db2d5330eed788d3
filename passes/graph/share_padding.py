"""graph.share-padding: one padded buffer for all that read a value, with padding or without.

Before:
    %1 = graph.relu %0 : f32[n, 28, 28, 64]
    %2 = graph.pad %1 {before = [0, 1, 1, 0], after = [0, 1, 1, 0], value = 0.0} : f32[n, 30, 30, 64]
    %3 = graph.pad %1 {before = [0, 2, 2, 0], after = [0, 2, 2, 0], value = 0.0} : f32[n, 32, 32, 64]
    %4 = graph.add %1, %x : f32[n, 28, 28, 64]
After:
    %1 = graph.relu %0 : f32[n, 28, 28, 64]
    %3 = graph.pad %1 {before = [0, 2, 2, 0], after = [0, 2, 2, 0], value = 0.0} : f32[n, 32, 32, 64]
    %5 = graph.slice %3 {starts = [0, 2, 2, 0], sizes = [n, 28, 28, 64], steps = [1, 1, 1, 1]} : f32[n, 28, 28, 64]
    %2 = graph.slice %3 {starts = [0, 1, 1, 0], sizes = [n, 30, 30, 64], steps = [1, 1, 1, 1]} : f32[n, 30, 30, 64]
    %4 = graph.add %5, %x : f32[n, 28, 28, 64]

`graph.cluster` lets what makes a value write it into the middle of a padded buffer, if nobody else reads the value; and
a slice costs its readers nothing.  Of several numbers to pad with, the one that most ask for has the value's own
buffer; for another, the value is copied out of it.

Needs: nothing.  Leaves: each value padded once with each number.  Refuses: padding that is no frame (`Pad.is_frame`);
to take a value out of its own buffer where it is a result, an input or a view, or where a reader looks beyond its
ends, which no slice has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ir.core import Operation, OpResult, Value
from headrace.ir.dims import Dim, dim_max
from headrace.ir.graph.families import Movement, Pull, Reducing, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.reads import probe_index, pulled_reads, reduced_reads
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class SharePadding(Pass):
    """No options."""

    summary = "one padded buffer for all that read a value"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            lazy = lazy_values(function.block)
            paddings: dict[Value, dict[str, list[Pad]]] = {}  # by value and number, in program order
            for operation in function.block.body:
                if isinstance(operation, Pad) and operation.is_frame:
                    paddings.setdefault(operation.x, {}).setdefault(repr(operation.value), []).append(operation)
            for value, numbers in paddings.items():
                merged = [_merged(numbers[n], rewriter) for n in sorted(numbers, key=lambda n: -len(numbers[n]))]
                own = next((pad for pad in merged if pad is not None), None)
                if own is not None and value not in lazy and _is_made(value):
                    _take_over(value, own, rewriter)


def _take_over(value: Value, own: Pad, rewriter: Rewriter) -> None:
    """Lets everybody read the value in the middle of a padded buffer."""
    others = [user for user in value.users if user is not own]
    if not others or not all(_reads_inside(user, value) for user in others):
        return
    assert isinstance(value, OpResult)
    after = rewriter.after(value.operation)
    after.location = own.location
    padded = after.add(Pad(value, own.before, own.after, own.value))
    middle = after.add(_part(padded, own.before, tensor(value).dims)).result
    for user, number in list(value.uses):
        if user not in (padded, own):
            rewriter.set_operand(user, number, middle)
    rewriter.replace(own, padded.results)


def _merged(pads: Sequence[Pad], rewriter: Rewriter) -> Pad | None:
    """One padding of which the given ones, all with one number, are parts; None if there is none."""
    first = pads[0]
    if all((pad.before, pad.after) == (first.before, first.after) for pad in pads):
        for pad in pads[1:]:
            rewriter.replace(pad, first.results)
        return first
    before, after = (tuple(dim_max(*d) for d in zip(*(getattr(p, n) for p in pads), strict=True)) for n in _SIDES)
    wide = Pad(first.x, before, after, first.value)
    if not wide.is_frame:
        wide.drop()
        return None
    rewriter.before(first).add(wide)
    for pad in pads:
        starts = tuple(w - b for w, b in zip(before, pad.before, strict=True))
        part = rewriter.before(pad).add(_part(wide, starts, tensor(pad.result).dims))
        rewriter.replace(pad, part.results)
    return wide


_SIDES = ("before", "after")


def _part(padded: Pad, starts: Sequence[Dim], sizes: Sequence[Dim]) -> Slice:
    return Slice(padded.result, tuple(starts), tuple(sizes), (1,) * len(starts))


def _is_made(value: Value) -> bool:
    """Whether a kernel computes it, which may as well write it elsewhere."""
    made = isinstance(value, OpResult) and isinstance(value.operation, Pull | Reducing)
    return made and not isinstance(value.owner, Movement)


def _reads_inside(user: Operation, value: Value) -> bool:
    """Whether a slice serves an operation as well as the value does: it reads elements, none of them outside."""
    match user:
        case Movement():
            return not user.is_view
        case Pad() if user.is_frame:
            return True  # a kernel copies what is inside
        case Pull():
            reads = pulled_reads(user, probe_index(tensor(user.result).rank))
        case Reducing():
            reduced = tuple(Dim.symbol(f"_over{i}") for i in range(len(user.reduction_axes())))
            step, finish = reduced_reads(user, probe_index(tensor(user.result).rank), reduced)
            reads = [*step, *finish]
        case _:
            return False
    return all(read.otherwise is None for read in reads if read.operand is value)
