"""Loops and guards around what is built next.

In: axes with their kinds, conditions.  Out: a `kernel.parallel` for neighbouring task, grid or thread axes of one kind,
a `kernel.for` for each other axis, a `kernel.if` around what holds under conditions only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from headrace.ir.access import Axis
from headrace.ir.core import Region
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import For, If, Parallel
from headrace.ir.rewrite import Builder

TOGETHER = ("task", "grid", "thread")  # kinds whose neighbouring axes share one kernel.parallel
UNROLLED = ("unroll", "reduction_unroll", "sequential_unroll")


@contextmanager
def loops(builder: Builder, axes: Sequence[Axis]) -> Iterator[None]:
    """Builds inside loops over the axes, the first of them outermost."""
    if not axes:
        yield
        return
    kind = axes[0].kind
    count = next((i for i, a in enumerate(axes) if a.kind != kind), len(axes)) if kind in TOGETHER else 1
    body = Region()
    if kind in TOGETHER:
        builder.add(Parallel(tuple(axes[:count]), body))
    else:
        builder.add(For((replace(axes[0], kind="unroll" if kind in UNROLLED else "sequential"),), body))
    with builder.at(body.block), loops(builder, axes[count:]):
        yield


@contextmanager
def guarded(builder: Builder, conditions: Sequence[Dim]) -> Iterator[None]:
    """Builds what is done only where all conditions are >= 0."""
    if not conditions:
        yield
        return
    then = Region()
    builder.add(If(None, tuple(conditions), then, Region()))
    with builder.at(then.block):
        yield
