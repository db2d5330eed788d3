"""Checks, and symbols that stand for integers from memory, under interpretation.

In: the machine and an operation.  Out: a closure.  An index is an array over the lanes; in lanes that do not run it is
taken as 0, so that formulas have a value everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from headrace.ir.access import Axis
from headrace.ir.errors import DataError
from headrace.ir.kernel.interpret.faults import fault
from headrace.ir.kernel.interpret.lanes import Array, Lanes
from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.ops.lookup import OUT_OF_RANGE, Check, Let, filled_in


def check(machine: Machine, operation: Check) -> Step:
    values, lanes = machine.values, machine.lanes

    def run() -> None:
        wrong = _running(lanes, np.logical_not(values[operation.condition]))
        if wrong.any():
            shown = [_first(values[v], wrong) for v in operation.values]
            raise DataError(filled_in(operation.message, shown), operation.node)

    return run


def let(machine: Machine, operation: Let) -> Step:
    values, lanes, axis = machine.values, machine.lanes, operation.axis
    with machine.naming([axis.name]):
        body = machine.translate(operation.body.block)

    def run() -> None:
        index = np.asarray(values[operation.index])
        extent = axis.extent.evaluate(lanes.env)
        outside = _running(lanes, (index < 0) | (index >= extent))
        if outside.any():
            found = f"{axis.name} is {_first(index, outside)}, expected 0 to {_first(np.asarray(extent), outside) - 1}"
            raise fault(operation, lanes, found, outside)
        lanes.env[axis.name] = _where_running(lanes, index)
        body()
        lanes.env.pop(axis.name)

    return run


@contextmanager
def looked_up(
    lanes: Lanes, axes: Sequence[Axis], reads: Sequence[Callable[[], Array]], nodes: Sequence[int]
) -> Iterator[None]:
    """While it is open, the axes stand for what the reads give, counted from the front.  Raises DataError."""
    for axis, read, node in zip(axes, reads, nodes, strict=True):
        index, extent = read().astype(np.int64), np.asarray(axis.extent.evaluate(lanes.env))
        counted = np.where(index < 0, index + extent, index)
        wrong = _running(lanes, (counted < 0) | (counted >= extent))
        if wrong.any():
            raise DataError(filled_in(OUT_OF_RANGE, [_first(index, wrong), _first(extent, wrong)]), node)
        lanes.env[axis.name] = _where_running(lanes, counted)
    yield
    for axis in axes:
        lanes.env.pop(axis.name)


def _running(lanes: Lanes, mask: Array) -> Array:
    """The mask in lanes that run."""
    return np.broadcast_to(mask if lanes.active is None else np.logical_and(mask, lanes.active), lanes.shape)


def _where_running(lanes: Lanes, index: Array) -> Array:
    return index if lanes.active is None else np.where(lanes.active, index, 0)


def _first(values: Array, chosen: Array) -> int:
    return int(np.broadcast_to(values, chosen.shape)[chosen][0])
