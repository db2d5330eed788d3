"""Allocation, loads and stores under interpretation.  In: the machine and an operation.  Out: a closure."""

from __future__ import annotations

from math import prod

import numpy as np

from headrace.ir.kernel.interpret.accesses import load, store
from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.interpret.memory import Buffer, layout, undefined
from headrace.ir.kernel.ops.memory import Alloc, Load, Prefetch, Store


def alloc(machine: Machine, operation: Alloc) -> Step:
    values, lanes, result, kind = machine.values, machine.lanes, operation.result, operation.type
    dtype, name = machine.numpy(kind.dtype), machine.name_of(result)

    def run() -> None:
        dims, strides, span = layout(kind, lanes.env)
        instances, depth = lanes.shape, lanes.depth
        if kind.space == "shared":  # one for a workgroup, wherever its threads are
            for number, level in enumerate(lanes.levels):
                if level.kind == "thread":
                    depth = min(depth, number)
                    instances = tuple(1 if p in level.positions else n for p, n in enumerate(instances))
        count = prod(instances) * span
        values[result] = Buffer(
            name, dims, strides, undefined(dtype, count), np.zeros(count, np.uint8), instances=instances, depth=depth
        )

    return run


def load_step(machine: Machine, operation: Load) -> Step:
    values, lanes, result, mask = machine.values, machine.lanes, operation.result, operation.mask
    source, map = operation.source
    plan = machine.plan(map, operation.lane_steps, operation.lanes)
    otherwise = operation.otherwise

    def run() -> None:
        given = None if mask is None else values[mask]
        values[result] = load(operation, lanes, values[source], plan, given, otherwise)

    return run


def store_step(machine: Machine, operation: Store) -> Step:
    values, lanes, value, mask = machine.values, machine.lanes, operation.value, operation.mask
    target, map = operation.target
    plan = machine.plan(map, operation.lane_steps, operation.lanes)

    def run() -> None:
        given = None if mask is None else values[mask]
        store(operation, lanes, values[target], plan, values[value], given)

    return run


def prefetch_step(machine: Machine, operation: Prefetch) -> Step:
    """Changes nothing that can be seen."""

    def run() -> None:
        pass

    return run
