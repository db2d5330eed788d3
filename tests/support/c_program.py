"""Runs a program whose kernels are C text: gcc compiles them, ctypes calls them, launch by launch.

In: a module after its target's pipeline, and inputs.  Out: the results.  The host's part is done here on numpy
memory, so that a difference from the compiled model can only come from the kernels.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headrace.codegen.clike import emit_c, kernel_name
from headrace.codegen.scratch import SCRATCH_ALIGNMENT, scratch_bytes
from headrace.compiler.constants import constants_of
from headrace.ir.core import Value
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.tasks import task_count
from headrace.ir.module import Module
from headrace.ir.program.ops.program import Alloc, Check, Constant, Copy, Launch, ProgramFunc, View
from headrace.ir.types import BufferType

Array = np.ndarray[Any, Any]
STRICT = ("-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


def library_of(kernels: Sequence[KernelFunc], folder: Path, compiler: str = "gcc") -> ctypes.CDLL:
    """The kernels, compiled from their C text with every warning an error."""
    (folder / "kernels.c").write_text(emit_c(kernels))
    command = [compiler, *STRICT, "-shared", "-fPIC", folder / "kernels.c", "-o", folder / "kernels.so", "-lm"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "kernels.so"))


def call(library: ctypes.CDLL, kernel: KernelFunc, buffers: Sequence[Array], scalars: Sequence[int]) -> None:
    """Runs all tasks of a kernel on these arrays."""
    pointers = (ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers))
    numbers = (ctypes.c_int64 * max(1, len(scalars)))(*scalars)
    known = dict(zip(kernel.scalars, scalars, strict=True))
    memory = np.empty(int(scratch_bytes(kernel).evaluate(known)) + SCRATCH_ALIGNMENT, np.uint8)
    scratch = ctypes.c_void_p(memory.ctypes.data + -memory.ctypes.data % SCRATCH_ALIGNMENT)
    tasks = int(task_count(kernel).evaluate(known))
    entry = library[kernel_name(kernel.function_name)]
    assert entry(pointers, numbers, scratch, ctypes.c_int64(0), ctypes.c_int64(tasks)) == 0


def run_in_c(module: Module, inputs: dict[str, Array], folder: Path) -> list[Array]:
    """The results of the module's program, in order."""
    library = library_of(list(module.functions(KernelFunc)), folder)
    return run_program(module, inputs, lambda kernel, buffers, scalars: call(library, kernel, buffers, scalars))


def run_program(
    module: Module, inputs: dict[str, Array], launch: Callable[[KernelFunc, Sequence[Array], Sequence[int]], None]
) -> list[Array]:
    """The results of the module's program, in order; `launch` runs a kernel on arrays, the last of which it writes."""
    (program,) = module.functions(ProgramFunc)
    kernels = {k.function_name: k for k in module.functions(KernelFunc)}
    source = constants_of(module)
    memory: dict[Value, Array] = {}
    symbols: dict[str, int] = {}
    for name, parameter in zip(program.input_names, program.inputs, strict=True):
        memory[parameter] = np.ascontiguousarray(inputs[name])
        assert isinstance(parameter.type, BufferType)
        for dim, extent in zip(parameter.type.dims, inputs[name].shape, strict=True):
            if not dim.is_constant:
                symbols[str(dim)] = extent

    def empty(value: Value) -> Array:
        kind = value.type
        assert isinstance(kind, BufferType)
        return np.empty([int(d.evaluate(symbols)) for d in kind.dims], kind.dtype.numpy)

    for parameter in program.written:
        memory[parameter] = empty(parameter)
    for op in program.block.operations:
        match op:
            case Constant():
                memory[op.result] = np.ascontiguousarray(source.evaluate(op.value))
            case Alloc():
                memory[op.result] = empty(op.result)
            case View():
                shape = empty(op.result).shape
                memory[op.result] = memory[op.x].reshape(-1)[: int(np.prod(shape))].reshape(shape)
            case Copy():
                memory[op.target][...] = memory[op.source].reshape(memory[op.target].shape)
            case Launch():
                scalars = [int(s.evaluate(symbols)) for s in op.scalars]
                launch(kernels[op.kernel.name], [memory[b] for b in op.buffers], scalars)
            case Check():
                assert all(int(formula.evaluate(symbols)) >= 0 for formula in op.where), op.message
            case _:
                raise AssertionError(f"{op.name} is not for this little machine")
    return [memory[p] for p in program.written]
