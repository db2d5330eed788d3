"""Launches of a compiled kernel, call by call, against headrace_driver.h.  In: a driver, a target.  Out: verdicts.

The kernel is that of an operation which the target takes, the first that is alone in its program.  Its buffers lie
where the plans of models put them: at offsets, several in one piece of memory, with other data on both sides.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headrace.codegen.artefact.model import Launch, Variant
from headrace.codegen.artefact.reader import read
from headrace.compiler.conformance.contract import Broken, Verdict, memory, opened, run, verdicts
from headrace.compiler.conformance.operators import Place, runs_here
from headrace.compiler.conformance.samples import MORE_TRIES, classes, function_of, instance_of, refusal
from headrace.compiler.conformance.watched import Tell, nobody
from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile_module, copy_of
from headrace.ir.errors import HeadraceError
from headrace.ir.graph.families import Array, GraphOp, tensor
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import module_of
from headrace.ir.types import F32
from headrace.runtime.python.calling import Device, Driver, Queue, Start, heap_bytes

SIZES = {"n": 211, "m": 173}
LEAST, MOST = 10_000, 300_000  # elements of all operands: tasks for several threads, and the interpreter is soon done
THREADS = 4
LOADS = 8
FIRST = ("graph.add", "graph.mul", "graph.relu", "graph.matmul")  # to be tried before all others
MARGIN = 200  # bytes around each buffer: a multiple of the largest element, and of nothing more
FILLING = 0xA5


def check_launches(driver: Driver, place: Place, tell: Tell = nobody) -> Iterator[Verdict]:
    """All promises about `launch`, in order.

    None where the target takes no operation that will do, or its code is for another machine than this one.
    """
    try:
        kernel = _subject(place)
    except _ForAnotherMachine:
        return
    if kernel is not None:
        yield from verdicts(_CHECKS, tell, driver, kernel)


# ---- the kernel ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Buffer:
    """`array`: which of the operands or results."""

    written: bool
    array: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Kernel:
    """`start`: all but the module and where the buffers lie."""

    function: GraphFunc
    arrays: Sequence[Array]
    image: bytes
    start: Start
    buffers: tuple[_Buffer, ...]

    def others(self) -> list[Array]:
        """Operands of the same shapes."""
        return [np.roll(a.reshape(-1), 1).reshape(a.shape) for a in self.arrays]

    def offsets(self) -> list[int]:
        """Of the buffers in one piece of memory, one behind the other with margins; then its size."""
        return list(itertools.accumulate((-(-b.bytes // 8) * 8 + MARGIN for b in self.buffers), initial=MARGIN))


class _ForAnotherMachine(Exception):
    """There is nothing to launch."""


def _subject(place: Place) -> _Kernel | None:
    """Of the first operation that is one kernel on arrays of a good size."""
    for cls in sorted(classes(), key=lambda c: FIRST.index(c.name) if c.name in FIRST else len(FIRST)):
        for found in _kernels(cls, place):
            return found
    return None


def _kernels(cls: type[GraphOp], place: Place) -> Iterator[_Kernel]:
    first = instance_of(cls, F32, place.target)
    if first is None:
        return
    for seed in range(MORE_TRIES):
        instance = replace(first, seed=seed)
        try:
            function, arrays = function_of([instance], SIZES)
            if LEAST <= sum(a.size for a in arrays[1:]) <= MOST and refusal(instance, place.target) is None:
                yield from _compiled(function, arrays, place)
        except HeadraceError:
            continue


def _compiled(function: GraphFunc, arrays: Sequence[Array], place: Place) -> Iterator[_Kernel]:
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = Path(folder) / "m.hrm"
        compile_module(copy_of(module_of(function)), output=path, target=place.target)
        if not runs_here(path, place):
            raise _ForAnotherMachine
        variant = read(path).artefact.variants[0]
    launches = variant.program.launches
    buffers = _buffers(variant, launches[0]) if len(launches) == 1 else None
    if buffers is None or len(function.block.terminator.operands) != 1:
        return
    (launch,) = launches
    kernel = variant.kernels[launch.kernel]
    scalars = [d.evaluate(SIZES) for d in launch.scalars]
    named = dict(zip(kernel.scalars, scalars, strict=True))
    start = Start(
        module=0,
        name=kernel.name,
        entry=kernel.entry,
        buffers=(),
        scalars=scalars,
        tasks=launch.tasks.evaluate(SIZES),
        grain=launch.grain.evaluate(SIZES),
        scratch_bytes=kernel.scratch.evaluate(named),
        scratch_alignment=kernel.scratch_alignment,
    )
    yield _Kernel(function, arrays, variant.image, start, buffers)


def _buffers(variant: Variant, launch: Launch) -> tuple[_Buffer, ...] | None:
    """Those of the launch; None where one is more, or less, than a whole operand or result."""
    kernel, program = variant.kernels[launch.kernel], variant.program
    found = []
    for number, parameter in zip(launch.buffers, kernel.buffers, strict=True):
        buffer = program.buffers[number]
        if buffer.base.kind not in ("input", "output") or buffer.offset.evaluate(SIZES):
            return None
        found.append(_Buffer(parameter.written, buffer.base.index, buffer.bytes.evaluate(SIZES)))
    return tuple(found) if sum(b.written for b in found) == 1 else None


# ---- what the checks use ---------------------------------------------------------------------------------------------


@contextmanager
def _loaded(driver: Driver, kernel: _Kernel, threads: int = 1) -> Iterator[tuple[Device, Queue, int]]:
    """A device with the kernel's module, and a queue with its scratch."""
    with opened(driver, threads) as (device, queue):
        module = device.module_load(kernel.image)
        try:
            if kernel.start.scratch_bytes:
                queue.reserve(kernel.start.scratch_bytes)
            yield device, queue, module
        finally:
            device.module_unload(module)


def _fill(queue: Queue, handle: int, size: int) -> None:
    """Memory that was used before may hold what would be right."""
    queue.upload(handle, 0, bytes([FILLING]) * size)


def _upload(queue: Queue, kernel: _Kernel, arrays: Sequence[Array], where: Sequence[tuple[int, int]]) -> None:
    for buffer, (handle, offset) in zip(kernel.buffers, where, strict=True):
        if not buffer.written:
            queue.upload(handle, offset, arrays[buffer.array].tobytes())


def _expect(kernel: _Kernel, arrays: Sequence[Array], found: bytes, where: str) -> None:
    """The result is that of these operands."""
    (value,) = kernel.function.block.terminator.operands
    kind = tensor(value)
    result = np.frombuffer(found, kind.dtype.numpy).reshape([d.evaluate(SIZES) for d in kind.dims])
    wrong = disagreement(kernel.function, arrays, [result], run_graph(kernel.function, arrays))
    if wrong is not None:
        raise Broken(f"kernel {kernel.start.name!r}, {where}: {wrong}")


def _expect_around(found: bytes, start: int, end: int, what: str) -> None:
    """Nothing was written before and behind a buffer."""
    for at in (*range(start - MARGIN, start), *range(end, end + MARGIN)):
        if found[at] != FILLING:
            side = f"{start - at} bytes before" if at < start else f"{at - end + 1} bytes behind"
            raise Broken(f"the kernel has written {side} {what}, which is {end - start} bytes at {start}")


# ---- the promises ----------------------------------------------------------------------------------------------------


def _pieces(driver: Driver, kernel: _Kernel) -> None:
    """A kernel's buffers lie at offsets, each in memory of its own, and it writes into its results alone."""
    sizes = [b.bytes + 2 * MARGIN for b in kernel.buffers]
    with (
        _loaded(driver, kernel) as (device, queue, module),
        memory(device, *sizes) as handles,
        run(queue),
    ):
        where = [(handle, MARGIN) for handle in handles]
        for handle, size in zip(handles, sizes, strict=True):
            _fill(queue, handle, size)
        _upload(queue, kernel, kernel.arrays, where)
        queue.launch(replace(kernel.start, module=module, buffers=where))
        for buffer, handle, size in zip(kernel.buffers, handles, sizes, strict=True):
            found = queue.download(handle, 0, size)
            _judge(kernel, buffer, found, MARGIN)


def _one_piece(driver: Driver, kernel: _Kernel) -> None:
    """The same in one piece of memory for all buffers."""
    *offsets, size = kernel.offsets()
    with (
        _loaded(driver, kernel) as (device, queue, module),
        memory(device, size) as (handle,),
        run(queue),
    ):
        where = [(handle, offset) for offset in offsets]
        _fill(queue, handle, size)
        _upload(queue, kernel, kernel.arrays, where)
        queue.launch(replace(kernel.start, module=module, buffers=where))
        found = queue.download(handle, 0, size)
        for buffer, offset in zip(kernel.buffers, offsets, strict=True):
            _judge(kernel, buffer, found, offset)


def _judge(kernel: _Kernel, buffer: _Buffer, found: bytes, start: int) -> None:
    """What is right of a buffer and of the bytes around it."""
    end = start + buffer.bytes
    if buffer.written:
        _expect(kernel, kernel.arrays, found[start:end], f"its result at {start}")
    elif found[start:end] != kernel.arrays[buffer.array].tobytes():
        raise Broken(f"the kernel has written into operand {buffer.array}")
    _expect_around(found, start, end, f"{'its result' if buffer.written else f'operand {buffer.array}'}")


def _order(driver: Driver, kernel: _Kernel) -> None:
    """A launch happens after what was asked for before it, and before what is asked for after it."""
    *offsets, size = kernel.offsets()
    (result,) = (n for n, b in enumerate(kernel.buffers) if b.written)
    length = kernel.buffers[result].bytes
    with (
        _loaded(driver, kernel) as (device, queue, module),
        memory(device, size, length) as (handle, kept),
        run(queue),
    ):
        where = [(handle, offset) for offset in offsets]
        start = replace(kernel.start, module=module, buffers=where)
        _fill(queue, handle, size)
        _fill(queue, kept, length)
        _upload(queue, kernel, kernel.arrays, where)
        queue.launch(start)
        queue.copy((kept, 0), where[result], length)
        _upload(queue, kernel, kernel.others(), where)
        queue.launch(replace(start, index=1))
        _expect(kernel, kernel.arrays, queue.download(kept, 0, length), "a copy behind it, other operands behind that")
        _expect(kernel, kernel.others(), queue.download(*where[result], length), "its second launch")


def _threads(driver: Driver, kernel: _Kernel) -> None:
    """Any number of threads gives the same bits."""
    *offsets, size = kernel.offsets()
    (result,) = (n for n, b in enumerate(kernel.buffers) if b.written)
    first = b""
    for threads in range(1, THREADS + 1):
        with (
            _loaded(driver, kernel, threads) as (device, queue, module),
            memory(device, size) as (handle,),
            run(queue),
        ):
            where = [(handle, offset) for offset in offsets]
            _fill(queue, handle, size)
            _upload(queue, kernel, kernel.arrays, where)
            queue.launch(replace(kernel.start, module=module, buffers=where, grain=1))
            found = queue.download(*where[result], kernel.buffers[result].bytes)
            _expect(kernel, kernel.arrays, found, f"{kernel.start.tasks} tasks on {threads} threads")
            first = first or found
            if found != first:
                raise Broken(f"kernel {kernel.start.name!r} gives other bits on {threads} threads than on one")


def _profile(driver: Driver, kernel: _Kernel) -> None:
    """A profile has at most a part for each thread of the queue, each ending after it began."""
    *offsets, size = kernel.offsets()
    for threads in (1, THREADS):
        with (
            _loaded(driver, kernel, threads) as (device, queue, module),
            memory(device, size) as (handle,),
            run(queue),
        ):
            where = [(handle, offset) for offset in offsets]
            _upload(queue, kernel, kernel.arrays, where)
            for part in queue.launch(replace(kernel.start, module=module, buffers=where), parts=threads):
                if part.thread >= threads or part.begin_ns > part.end_ns:
                    times = f"from {part.begin_ns} to {part.end_ns} ns"
                    raise Broken(f"thread {part.thread} of {threads} has worked {times}")


def _unloaded(driver: Driver, kernel: _Kernel) -> None:
    """A module that is unloaded leaves nothing behind."""
    with opened(driver) as (device, _):
        for turn in range(2 * LOADS):
            if turn == LOADS:  # by now all is there that is kept for good
                heap = heap_bytes()
            device.module_unload(device.module_load(kernel.image))
        if (more := heap_bytes() - heap) >= LOADS * len(kernel.image):
            raise Broken(f"the heap is {more} bytes larger after {LOADS} images of {len(kernel.image)} bytes")


_CHECKS: tuple[Callable[[Driver, _Kernel], None], ...] = (_pieces, _one_piece, _order, _threads, _profile, _unloaded)
