"""Maps that add products to what they write.

In: a map, as `kernel.accumulate` leaves it.  Out: its multiply-add, and the reads that are its factors.
"""

from __future__ import annotations

from headrace.ir.core import BlockArgument, Value, producer
from headrace.ir.kernel.ops.convert import Cast
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.kernel.ops.structured import Map


def product_of(op: Map) -> MulAdd | None:
    """What the map writes, if that is what it reads there plus a product of what no point of it writes."""
    if len(op.writes) != 1 or op.lookups:
        return None
    step = producer(op.body.block.terminator.operands[0], MulAdd)
    total = None if step is None else argument_of(op, step.c)
    (write,) = op.writes
    if total is None or len(total.uses) > 1 or op.reads[total.index] != write:
        return None
    return step if [r.value for r in op.reads].count(write.value) == 1 else None


def factor_of(op: Map, value: Value) -> BlockArgument | None:
    """The argument of the map's body that a factor is, as it was read or converted; None if it is computed."""
    cast = producer(value, Cast)
    return argument_of(op, value if cast is None else cast.x)


def argument_of(op: Map, value: Value) -> BlockArgument | None:
    """The value, if it is an argument of the map's body."""
    return value if isinstance(value, BlockArgument) and value in op.body.block.arguments else None
