"""Asynchronous copies under interpretation: they run twice, so that nobody can tell when they really do.

In: the machine and an operation.  Out: a closure.  At issue the elements are read and the target becomes
undefined; at the wait the source is read again, must be the same, and only now the target is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headrace.ir.access import AccessMap
from headrace.ir.core import Value
from headrace.ir.kernel.interpret import accesses
from headrace.ir.kernel.interpret.faults import fault
from headrace.ir.kernel.interpret.lanes import Array, Number, both
from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.interpret.memory import PENDING, WRITTEN, Buffer, undefined
from headrace.ir.kernel.ops.memory import CopyAsync, Wait


@dataclass(slots=True, eq=False)
class Copy:
    """One that was started: by which lanes, what, and for which of them it is not done."""

    operation: CopyAsync
    source: Buffer
    target: Buffer
    taken: Array  # numbers of the source's elements, (lanes..., count)
    given: Array  # of the target's
    seen: Array  # what the source held
    who: Array
    open: Array


def copy_async(machine: Machine, operation: CopyAsync) -> Step:
    lanes, values, result = machine.lanes, machine.values, operation.result
    (source, source_map), (target, target_map) = operation.source, operation.target
    count, scope = operation.count, machine.scope

    def locate(buffer: Buffer, map: AccessMap, most: int, mask: Array | None) -> Array:
        along = (*(0,) * (len(map.indices) - 1), 1)
        plan = accesses.plan(map.indices, along, max(most, 2), scope)
        found, _ = accesses.locate(operation, lanes, buffer, plan, mask, padded=False)
        return accesses.spread(lanes, found, True)[0]

    def run() -> None:
        each: Number = count.evaluate(lanes.env)
        most = max(int(np.max(each)), 0)
        many = each if isinstance(each, int) else each[..., None]
        mask = np.arange(max(most, 2)) < many
        if mask.ndim == 1:
            mask = mask.reshape((1,) * lanes.rank + mask.shape)
        taking, giving = machine.buffer(source), machine.buffer(target)
        if not giving.writable:
            raise fault(operation, lanes, f"writes {giving.name}, an input of the kernel")
        taken = locate(taking, source_map, most, mask)
        given = locate(giving, target_map, most, mask)
        opened = np.broadcast_to(both(lanes.running(True), mask), taken.shape)  # type: ignore[arg-type]
        who = np.broadcast_to(lanes.ids[..., None], taken.shape)
        copy = Copy(operation, taking, giving, taken, given, taking.storage[taken], who, opened.copy())
        values[result] = copy
        if opened.any():
            _begin(machine, copy)
            machine.copies.append(copy)

    return run


def _begin(machine: Machine, copy: Copy) -> None:
    operation, lanes, target = copy.operation, machine.lanes, copy.target
    accesses.note_read(operation, lanes, copy.source, copy.taken, copy.who, copy.open)
    accesses.check_written(operation, lanes, copy.source, copy.taken, copy.open)
    accesses.check_idle(operation, lanes, target, copy.given, copy.open)
    accesses.note_write(operation, lanes, target, copy.given, copy.who, copy.open)
    places = copy.given[copy.open]
    target.storage[places] = undefined(target.dtype, 1)[0]
    target.state[places] = PENDING
    target.complete = False
    target.pending += 1


def wait(machine: Machine, operation: Wait) -> Step:
    tokens: Sequence[Value] = operation.tokens

    def run() -> None:
        for token in tokens:
            _finish(machine, machine.values[token], operation)

    return run


def _finish(machine: Machine, copy: Copy, operation: Wait) -> None:
    """Completes a copy for the lanes that wait for it."""
    lanes = machine.lanes
    active = lanes.running(True)
    done = copy.open if active is None else np.logical_and(copy.open, active)
    if not done.any():
        return
    accesses.note_read(operation, lanes, copy.source, copy.taken, copy.who, done)
    now = copy.source.storage[copy.taken]
    changed = done & (_bytes(now) != _bytes(copy.seen)).any(-1)
    if changed.any():
        text = accesses.element_text(copy.source, copy.taken, changed)
        raise fault(copy.operation, lanes, f"its source {text} changed before the copy was waited for", changed)
    accesses.note_write(operation, lanes, copy.target, copy.given, copy.who, done)
    places = copy.given[done]
    copy.target.storage[places] = now[done]
    copy.target.state[places] = WRITTEN
    copy.open = copy.open & ~done
    if not copy.open.any():
        copy.target.pending -= 1
        machine.copies.remove(copy)


def _bytes(array: Array) -> Array:
    """The bytes of each element along a last dim: equal bits, NaN or not."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(*array.shape, -1)


def check_all_done(machine: Machine) -> None:
    """Faults at the end of a kernel if a copy was never waited for."""
    for copy in machine.copies:
        raise fault(copy.operation, machine.lanes, "the kernel ends, but nothing waited for this copy", copy.open)
