"""What is known of symbols at a place inside loops.  In: an operation, and its function's facts.  Out: facts that hold
the axes of the loops around it, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Operation
from headrace.ir.dims import Dim, Facts
from headrace.ir.kernel.ops.control import For, If, Parallel


def enclosing_facts(op: Operation, facts: Facts) -> Facts:
    """`facts` with the axes of all loops around `op`, as far as the conditions around it let them run."""
    path = [op, *op.ancestors()]
    for above, inner in zip(path[:0:-1], path[-2::-1], strict=True):
        if isinstance(above, For | Parallel):
            for axis in above.axes:
                facts = facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        elif isinstance(above, If) and inner.parent is above.then.block:
            for condition in above.where:
                facts = _bounded(facts, condition, path)
    return facts


def _bounded(facts: Facts, condition: Dim, path: Sequence[Operation]) -> Facts:
    """What `condition` >= 0 says of the loop in `path` whose axis it counts down."""
    for loop in path:
        axis = loop.axis if isinstance(loop, For) else None
        split = condition.linear(axis.name) if axis is not None else None
        if axis is not None and split is not None and split[0] == -1:
            end = split[1] + 1
            if facts.less_equal(end, axis.extent) is True:
                return facts.with_symbol(axis.name, Dim.constant(0), end)
    return facts
