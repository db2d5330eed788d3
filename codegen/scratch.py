"""Where the stack buffers of a kernel lie in the scratch memory that its thread brings, and which error sites it has.

In: a kernel as loops.  Out: a byte offset for each `kernel.alloc` of space `stack`, and the bytes needed: formulas
over the kernel's scalars.
Buffers of blocks that do not enclose one another share memory, since a buffer lives as long as its block runs.
A kernel that fails leaves the values of its check at the start of the scratch, over whatever was there.
"""

from __future__ import annotations

from headrace.ir.core import Block, Operation, walk
from headrace.ir.dims import Dim, ceildiv, dim_max
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.lookup import VALUE_BYTES, Check
from headrace.ir.kernel.ops.memory import Alloc

SCRATCH_ALIGNMENT = 64  # of the scratch memory and of each buffer in it: no vector crosses a cache line


def check_sites(function: KernelFunc) -> dict[Operation, int]:
    """The number of each check, from 1: what the kernel returns where it fails."""
    return {check: number for number, check in enumerate(walk(function, Check), 1)}


def scratch_bytes(function: KernelFunc) -> Dim:
    """Bytes of scratch, aligned to SCRATCH_ALIGNMENT, that each thread in the kernel needs.  Raises CodegenError."""
    least = Dim.constant(VALUE_BYTES if check_sites(function) else 0)
    size = _lay_out(function.block, Dim.constant(0), {})
    unknown = set(size.symbols) - set(function.scalars)
    if unknown:
        raise CodegenError(f"kernel @{function.function_name}: a stack buffer's size depends on axis {min(unknown)}")
    return function.known.simplify(dim_max(size, least))


def scratch_offsets(function: KernelFunc) -> dict[Operation, Dim]:
    """The offset of each stack buffer, by its alloc."""
    offsets: dict[Operation, Dim] = {}
    _lay_out(function.block, Dim.constant(0), offsets)
    return offsets


def _lay_out(block: Block, start: Dim, offsets: dict[Operation, Dim]) -> Dim:
    """Gives the block's buffers places from `start` on; returns the highest end in it."""
    for operation in block.operations:
        if isinstance(operation, Alloc) and operation.type.space == "stack":
            offsets[operation] = start
            start = start + ceildiv(operation.type.bytes, SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT
    ends = [start]
    for operation in block.operations:
        ends += [_lay_out(region.block, start, offsets) for region in operation.regions]
    return dim_max(*ends)
