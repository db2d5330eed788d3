"""Which function translates which operation of the kernel dialect.

In: an operation's class.  Out: a function of the machine and the operation that gives the closure.
"""

from __future__ import annotations

from headrace.ir.kernel.interpret import control, copies, lookups, matrix, numbers, structured, touch
from headrace.ir.kernel.interpret.machine import Translators
from headrace.ir.kernel.ops.control import Barrier, For, If, Parallel
from headrace.ir.kernel.ops.convert import (
    Bitcast,
    Broadcast,
    Cast,
    Constant,
    Holds,
    Index,
    Mask,
    ReduceLanes,
    TakeLanes,
)
from headrace.ir.kernel.ops.lookup import Check, Let
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.memory import Alloc, CopyAsync, Load, Prefetch, Store, Wait
from headrace.ir.kernel.ops.scalar import Fma, Select
from headrace.ir.kernel.ops.structured import Map, Reduce

STEPS: Translators = {
    Parallel: control.parallel,
    For: control.loop,
    If: control.condition,
    Barrier: control.barrier,
    Constant: numbers.constant,
    Index: numbers.index,
    Mask: numbers.mask,
    Holds: numbers.holds,
    Broadcast: numbers.broadcast,
    ReduceLanes: numbers.reduce_lanes,
    TakeLanes: numbers.take_lanes,
    Cast: numbers.cast,
    Bitcast: numbers.bitcast,
    Select: numbers.select,
    Fma: numbers.fma,
    Alloc: touch.alloc,
    Load: touch.load_step,
    Store: touch.store_step,
    Prefetch: touch.prefetch_step,
    CopyAsync: copies.copy_async,
    Wait: copies.wait,
    Check: lookups.check,
    Let: lookups.let,
    Map: structured.map_step,
    Reduce: structured.reduce_step,
    Mma: matrix.mma_step,
}
