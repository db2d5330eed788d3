"""The message of a kernel fault.  In: the operation, what is wrong, which lanes.  Out: a KernelFault of one line."""

from __future__ import annotations

import numpy as np

from headrace.ir.core import Operation
from headrace.ir.errors import KernelFault
from headrace.ir.kernel.interpret.lanes import Array, Lanes
from headrace.ir.module import Function
from headrace.ir.text import print_op


def fault(operation: Operation, lanes: Lanes, message: str, wrong: Array | None = None) -> KernelFault:
    """`@f: kernel.load %x[i]: message; at i = 3`, with the axes of the first lane for which `wrong` holds."""
    point = (0,) * lanes.rank if wrong is None else tuple(int(p) for p in np.argwhere(wrong)[0][: lanes.rank])
    axes = lanes.describe(point)
    where = f"; at {axes}" if axes else ""
    return KernelFault(f"{place(operation)}: {message}{where}")


def place(operation: Operation) -> str:
    """The function and the operation's text, without what stands in its regions."""
    name = next((f"@{a.function_name}: " for a in operation.ancestors() if isinstance(a, Function)), "")
    return name + print_op(operation).strip().partition("\n")[0].removesuffix("{").strip()
