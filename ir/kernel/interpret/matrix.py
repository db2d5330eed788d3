"""kernel.mma under interpretation.

In: the machine and an operation.  Out: a closure.  Rows and columns run in lock step, each pair a lane that reads the
elements of its own sum, with the checks of any other access.  Terms are added one after the other, in the accumulator's
type.
"""

from __future__ import annotations

import numpy as np

from headrace.ir.kernel.interpret.machine import Machine, Step
from headrace.ir.kernel.interpret.structured import points, reader, writer
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.types import element_dtype


def mma_step(machine: Machine, operation: Mma) -> Step:
    with machine.inside(operation):
        lhs, rhs, into = (reader(machine, operation, access) for access, _ in operation.tiles)
        write = writer(machine, operation, operation.into)
    depth, lanes = operation.axes[2], machine.lanes
    dtype = machine.numpy(element_dtype(operation.into.value.type))

    def run() -> None:
        saved = machine.open(operation, "parallel")
        if saved is None:
            return
        total = into()
        for mask in points(machine, [depth], [depth.extent.value], operation.where):
            longer = total + lhs().astype(dtype) * rhs().astype(dtype)
            total = longer if mask is None else np.where(mask, longer, total)
        write(total)
        lanes.env.pop(depth.name, None)
        lanes.close(saved)

    return run
