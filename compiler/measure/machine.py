"""Kernels into memory, and how long they take.

In: kernels as loops, and a preset of this machine's family.  Out: the shortest time of many calls, in seconds: other
work on a machine only ever adds time.  Buffers are aligned to 64 bytes, as the runtime's are.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.codegen.image.elf import read_object
from headrace.codegen.image.flatten import flatten
from headrace.codegen.llvm import emit_module, scratch_bytes
from headrace.codegen.workers import Job, WorkerPool
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module

Array = np.ndarray[Any, Any]


class Machine:
    """Compiles with one preset and keeps what it compiled."""

    def __init__(self, facts: TargetFacts, pool: WorkerPool) -> None:
        self.facts = facts
        self._pool = pool
        self._blocks: list[mmap.mmap] = []

    def load(self, function: KernelFunc) -> Callable[..., int]:
        """The kernel as a C function; calls of it run without the interpreter's lock."""
        facts = self.facts
        assert scratch_bytes(function) == 0
        job = Job(function.function_name, emit_module([function], facts), facts.triple, facts.cpu, facts.features)
        image = flatten([read_object(job.name, self._pool.run([job])[0])])
        block = mmap.mmap(-1, len(image.code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        block.write(image.code)
        self._blocks.append(block)
        base = ctypes.addressof(ctypes.c_char.from_buffer(block))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, pointer, number, number)
        return kind(base + image.entries[function.function_name])

    def load_text(self, text: str) -> Callable[..., int]:
        """The one kernel of a module in text form, which is loops already."""
        return self.load(next(parse_module(text).functions(KernelFunc)))


def aligned(array: Array) -> Array:
    """A copy that starts at a multiple of 64 bytes."""
    block = np.empty(array.nbytes + 64, np.uint8)
    start = -block.ctypes.data % 64
    copy = block[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def shortest(
    kernel: Callable[..., int], buffers: Sequence[Array], scalars: Sequence[int], tasks: int, seconds: float = 0.3
) -> float:
    """Seconds of the fastest call within about `seconds`."""
    pointers = (ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers))
    numbers = (ctypes.c_int64 * max(1, len(scalars)))(*scalars)
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        kernel(pointers, numbers, None, 0, tasks)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best
