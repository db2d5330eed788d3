"""The code section of an OpenCL variant: what each kernel needs of a device, then one program as text.

In: kernels as loops over grid and threads.  Out: bytes as docs/artefact.md draws them; a kernel's entry is the offset
of its row.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.codegen.artefact.layout import Words
from headrace.codegen.clike import emit_opencl, group_size, kernel_name
from headrace.codegen.scratch import scratch_bytes
from headrace.ir.core import Operation, walk
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.types import F64, element_dtype
from headrace.targets.base import Emitted

# ORDER: docs/artefact.md, runtime/src/opencl_device.c
NEEDS_FP64 = 1


def emit(functions: Sequence[KernelFunc], facts: TargetFacts) -> Emitted:
    """Raises CodegenError."""
    words, entries = Words(), dict[str, int]()
    words.u32(len(functions))
    for function in functions:
        entries[function.function_name] = len(words.data())
        words.string(kernel_name(function.function_name))
        words.u32(group_size(function), local_bytes(function), needs(function))
    words.string(emit_opencl(functions))
    return Emitted(words.data(), entries, {f.function_name: scratch_bytes(f) for f in functions})


def local_bytes(function: KernelFunc) -> int:
    """Of all shared buffers; the language has them at the top of a kernel, so none of them share memory."""
    kinds = [a.type for a in walk(function, Alloc)]
    return sum(k.bytes.value for k in kinds if k.space == "shared")


def needs(function: KernelFunc) -> int:
    """Extensions of OpenCL C 1.2 that the kernel uses, a bit each."""
    types = [v.type for v in function.parameters]
    types += [r.type for operation in walk(function, Operation) for r in operation.results]
    return NEEDS_FP64 if any(element_dtype(t) == F64 for t in types) else 0
