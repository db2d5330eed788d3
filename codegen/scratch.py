"""Where the stack buffers of a kernel lie in the scratch memory that its thread brings, and which error sites it has.

In: a kernel as loops.  Out: a byte offset for each `kernel.alloc` of space `stack`, and the bytes needed.
Buffers of blocks that do not enclose one another share memory, since a buffer lives as long as its block runs.
A kernel that fails leaves the values of its check at the start of the scratch, over whatever was there.
"""

from __future__ import annotations

from headrace.ir.core import Block, Operation, walk
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.lookup import VALUE_BYTES, Check
from headrace.ir.kernel.ops.memory import Alloc

SCRATCH_ALIGNMENT = 64  # of the scratch memory and of each buffer in it: no vector crosses a cache line


def scratch_bytes(function: KernelFunc) -> int:
    """Bytes of scratch, aligned to SCRATCH_ALIGNMENT, that each thread in the kernel needs."""
    least = VALUE_BYTES if check_sites(function) else 0
    return max(_lay_out(function.block, 0, {}), least)


def check_sites(function: KernelFunc) -> dict[Operation, int]:
    """The number of each check, from 1: what the kernel returns where it fails."""
    return {check: number for number, check in enumerate(walk(function, Check), 1)}


def scratch_offsets(function: KernelFunc) -> dict[Operation, int]:
    """The offset of each stack buffer, by its alloc."""
    offsets: dict[Operation, int] = {}
    _lay_out(function.block, 0, offsets)
    return offsets


def _lay_out(block: Block, start: int, offsets: dict[Operation, int]) -> int:
    """Gives the block's buffers places from `start` on; returns the highest end in it."""
    for operation in block.operations:
        if isinstance(operation, Alloc) and operation.type.space == "stack":
            offsets[operation] = start
            size = operation.type.bytes.value
            start += -(-size // SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT
    ends = [start]
    for operation in block.operations:
        ends += [_lay_out(region.block, start, offsets) for region in operation.regions]
    return max(ends)
