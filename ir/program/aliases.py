"""Buffers of a launch that are the same memory.

In: a module.  Out: nothing, or a VerifyError: a launch may give one buffer twice only where its kernel says that the
result takes the operand's place.  Different parts of one buffer are different memory.
"""

from __future__ import annotations

from headrace.ir.core import Value, producer, walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.in_place import check_in_place, in_place
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.program.ops.program import Launch, View
from headrace.ir.types import BufferType

Spot = tuple[Value, Dim, tuple[Dim, ...] | None]


def check_aliases(module: Module) -> None:
    """Checks all kernels and launches."""
    kernels = {f.function_name: f for f in module.functions(KernelFunc)}
    for kernel in kernels.values():
        check_in_place(kernel)
    for launch in walk(module, Launch):
        called = kernels.get(launch.kernel.name)
        if called is not None and len(called.parameters) == len(launch.buffers):
            _check(launch, called)


def _check(launch: Launch, kernel: KernelFunc) -> None:
    allowed = {(operand.index, result.index) for operand, result in in_place(kernel)}
    spots = [_spot(b) for b in launch.buffers]
    for result in (p.index for p in kernel.written):
        for other, spot in enumerate(spots):
            if other != result and spot == spots[result] and (other, result) not in allowed:
                raise launch.fail(f"buffers {other} and {result} are the same, and {launch.kernel} does not allow that")


def _spot(value: Value) -> Spot:
    """Where a buffer begins, behind all views, and its strides where it has gaps."""
    kind = value.type
    assert isinstance(kind, BufferType)
    offset = Dim.constant(0)
    while (view := producer(value, View)) is not None:
        value, offset = view.x, offset + view.offset
    return value, offset, kind.strides
