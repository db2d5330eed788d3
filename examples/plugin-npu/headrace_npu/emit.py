"""From tiles to instructions: the code section of a model's part for the NPU.

In: kernels as the schedule leaves them: loops, and maps and products of tiles in the scratchpad.  Out: words, as
driver/isa.h draws them.  `select` has the instructions of each map and product.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from headrace.ir.core import Block, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import CodegenError
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import For, Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.kernel.tasks import grid_axes
from headrace.targets.base import Emitted
from headrace_npu.assemble import Assembler
from headrace_npu.isa import MAGIC, WORDS, Opcode
from headrace_npu.select import Selection


def emit(functions: Sequence[KernelFunc], facts: TargetFacts) -> Emitted:
    """Raises CodegenError for a kernel that the NPU has no instructions for."""
    code, entries = struct.pack("<2I", MAGIC, len(functions)), dict[str, int]()
    for function in functions:
        entries[function.function_name] = len(code)
        rows = program(function)
        words = [word for row in rows for word in row]
        code += struct.pack(f"<I{len(rows) * WORDS}I", len(rows), *words)
    return Emitted(code, entries, {f.function_name: Dim.constant(0) for f in functions})


def program(function: KernelFunc) -> list[tuple[int, ...]]:
    """The instructions of one kernel.  A launch runs them for each point of the grid, whose number is the task."""
    asm = Assembler(function.function_name)
    for number, name in enumerate(function.scalars):
        asm.symbols[name] = asm.scalar(Opcode.ARGUMENT, number)
    left = asm.scalar(Opcode.TASK)
    for axis in reversed(grid_axes(function)):
        extent = asm.formula(axis.extent)
        asm.symbols[axis.name] = asm.scalar(Opcode.MOD, left, extent)
        left = asm.scalar(Opcode.DIV, left, extent)
    _block(function.block, function, asm, {})
    return asm.rows


def _block(block: Block, function: KernelFunc, asm: Assembler, tiles: dict[Value, int]) -> None:
    """`tiles`: where in the scratchpad each buffer begins."""
    for op in block.operations:
        match op:
            case Parallel() if op.axes == grid_axes(function):
                _block(op.body.block, function, asm, tiles)
            case For():
                with asm.loop(op.axis.name, op.axis.extent):
                    _block(op.body.block, function, asm, tiles)
            case Alloc():
                tiles[op.result] = asm.room(op.type.elements.value)
            case Map() | Mma():
                with asm.scope():  # results in between have their room only as long
                    Selection(op, function, asm, tiles).emit()
            case _:
                raise CodegenError(f"npu: {op.name} at {op.location} has no instruction")
