"""Loops, conditions and barriers under interpretation.

In: the machine and an operation.  Out: a closure.  A loop whose extent differs from lane to lane runs as often
as the longest needs, the others masked; both branches of an `if` run, each with its lanes.
"""

from __future__ import annotations

import numpy as np

from headrace.ir.kernel.interpret.faults import fault
from headrace.ir.kernel.interpret.lanes import Array, Number
from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.interpret.numbers import where_holds
from headrace.ir.kernel.ops.control import Barrier, For, If, Parallel


def parallel(machine: Machine, operation: Parallel) -> Step:
    with machine.inside(operation):
        body = machine.translate(operation.body.block)
    kind = operation.axes[0].kind if operation.axes else "parallel"

    def run() -> None:
        saved = machine.open(operation, kind)
        if saved is not None:
            body()
            machine.lanes.close(saved)

    return run


def loop(machine: Machine, operation: For) -> Step:
    lanes, axis = machine.lanes, operation.axis
    body = machine.translate(operation.body.block)

    def run() -> None:
        extent: Number = axis.extent.evaluate(lanes.env)
        if isinstance(extent, int):
            for number in range(extent):
                lanes.env[axis.name] = number
                body()
            lanes.env.pop(axis.name, None)
            return
        before = lanes.active
        for number in range(int(extent.max(initial=0))):
            lanes.env[axis.name] = number
            if lanes.narrow(number < extent):
                body()
            lanes.active = before
        lanes.env.pop(axis.name, None)

    return run


def condition(machine: Machine, operation: If) -> Step:
    lanes, values = machine.lanes, machine.values
    where, given = operation.where, operation.condition
    then, otherwise = machine.translate(operation.then.block), machine.translate(operation.otherwise.block)

    def run() -> None:
        holds: bool | Array = where_holds(where, lanes)
        if given is not None and holds is not False:
            holds = values[given] if holds is True else np.logical_and(holds, values[given])
        if isinstance(holds, bool):
            (then if holds else otherwise)()
            return
        before = lanes.active
        for mask, branch in ((holds, then), (~holds, otherwise)):
            if lanes.narrow(mask):
                branch()
            lanes.active = before

    return run


def barrier(machine: Machine, operation: Barrier) -> Step:
    lanes = machine.lanes

    def run() -> None:
        level = next((n for n in reversed(range(lanes.depth)) if lanes.levels[n].kind == "thread"), None)
        if level is None:
            raise fault(operation, lanes, "no axis of kind thread around it, so nobody to wait for")
        if lanes.active is not None:
            here = np.broadcast_to(lanes.active, lanes.shape)
            threads = lanes.levels[level]
            absent = np.zeros((), np.bool_) if threads.existing is None else ~threads.existing
            some = here.any(axis=threads.positions, keepdims=True)
            missing = some & ~(here | absent)
            if missing.any():
                raise fault(operation, lanes, "a thread of the workgroup does not come here", missing)
        lanes.next_epoch(level)

    return run
