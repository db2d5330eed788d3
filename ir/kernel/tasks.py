"""The task domain of a kernel, which a CPU's threads share, and the grid of a kernel for a device.

A kernel's body is one `kernel.parallel` with `task` axes, or has none and is one task.  The launch runs
[0, product of the extents), the last axis fastest.  The same holds for `grid` axes and workgroups.
"""

from __future__ import annotations

from math import prod

from headrace.ir.access import Axis
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Structured


def task_axes(function: KernelFunc) -> tuple[Axis, ...]:
    """The task axes, outermost first; none where the kernel is one task."""
    return _outermost(function, "task")


def grid_axes(function: KernelFunc) -> tuple[Axis, ...]:
    """The grid axes, outermost first; none where the kernel is one workgroup."""
    return _outermost(function, "grid")


def _outermost(function: KernelFunc, kind: str) -> tuple[Axis, ...]:
    body = function.block.operations
    if len(body) == 1 and isinstance(body[0], Parallel | Structured):
        return tuple(a for a in body[0].axes if a.kind == kind)
    return ()


def task_count(function: KernelFunc) -> Dim:
    """How many tasks or workgroups a launch has, as a formula over the kernel's scalars."""
    return prod((a.extent for a in (*task_axes(function), *grid_axes(function))), start=Dim.constant(1))
