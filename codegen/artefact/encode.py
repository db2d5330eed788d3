"""Each table of an artefact as the bytes of its section.  In: parts of the model.  Out: bytes.

Nothing is checked here but formulas; `check` has seen the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.codegen.artefact.formula import Emitter, Instruction, Op, Scope
from headrace.codegen.artefact.layout import BASES, DTYPES, KINDS, MACHINES, NO_SLOT, StepOp, Words, padding
from headrace.codegen.artefact.model import (
    Artefact,
    Copy,
    Kernel,
    Launch,
    Program,
    Read,
    Set,
    Signature,
    Variant,
)
from headrace.ir.dims import Dim


def encode_signature(signature: Signature) -> bytes:
    words = Words()
    words.u32(len(signature.inputs), len(signature.outputs))
    for port in (*signature.inputs, *signature.outputs):
        words.string(port.name)
        words.u32(KINDS[port.kind], DTYPES[port.dtype.name], len(port.dims))
        for dim in port.dims:
            words.i64(dim.value if dim.is_constant else -1)
            words.string(str(dim))
    return words.data()


def encode_metadata(metadata: Sequence[tuple[str, str]]) -> bytes:
    words = Words()
    words.u32(len(metadata))
    for key, value in sorted(metadata):
        words.string(key)
        words.string(value)
    return words.data()


def encode_variant(variant: Variant) -> bytes:
    words = Words()
    words.string(variant.preset)
    words.u32(MACHINES[variant.machine])
    words.string(variant.driver)
    words.u32(len(variant.features))
    for feature in sorted(variant.features):
        words.string(feature)
    words.u32(len(variant.image), len(variant.devices))
    for device in variant.devices:
        words.string(device.driver)
        words.u32(len(device.image))
    return words.data()


def encode_code(variant: Variant) -> bytes:
    """The images of all devices, each at a multiple of 64."""
    code = bytearray(variant.image)
    for device in variant.devices:
        code += bytes(padding(len(code))) + device.image
    return bytes(code)


def encode_kernels(variant: Variant) -> bytes:
    words = Words()
    words.u32(len(variant.kernels))
    for kernel in variant.kernels:
        _encode_kernel(words, f"{variant.preset}: kernel {kernel.name!r}", kernel)
    return words.data()


def _encode_kernel(words: Words, place: str, kernel: Kernel) -> None:
    emitter = Emitter(place)
    for number, name in enumerate(kernel.scalars):
        emitter.bind(name, emitter.emit(Op.ARG, number))
    scratch = emitter.slot(kernel.scratch)
    needs = [emitter.slot(buffer.bytes) for buffer in kernel.buffers]
    tasks = emitter.slot(kernel.tasks)
    required = [emitter.slot(formula) for formula in kernel.requires]
    words.string(kernel.name)
    words.u32(kernel.entry, kernel.scratch_alignment, len(kernel.scalars))
    _encode_code(words, emitter.take())
    words.u32(scratch, len(kernel.buffers))
    for buffer, need in zip(kernel.buffers, needs, strict=True):
        words.u32(int(buffer.written), need)
    words.u32(tasks, len(required), *required, kernel.device)


def _encode_code(words: Words, code: Sequence[Instruction]) -> None:
    words.u32(len(code))
    for instruction in code:
        words.u32(*instruction)


def encode_debug(variant: Variant) -> bytes:
    words = Words()
    for kernel in variant.kernels:
        for name in kernel.scalars:
            words.string(name)
        words.string(kernel.text)
        words.u32(len(kernel.sites))
        for site in kernel.sites:
            words.u32(site.node)
            words.string(site.message)
        _encode_work(words, f"{variant.preset}: work of kernel {kernel.name!r}", kernel)
    for segment in variant.program.segments:
        for step in segment.steps:
            words.u32(len(step.nodes))
            for node in step.nodes:
                words.string(node)
    for symbol in variant.program.symbols:
        words.string(symbol)
    return words.data()


def _encode_work(words: Words, place: str, kernel: Kernel) -> None:
    if kernel.work is None:
        words.u32(0)
        return
    emitter = Emitter(place)
    for number, name in enumerate(kernel.scalars):
        emitter.bind(name, emitter.emit(Op.ARG, number))
    slots = emitter.slot(kernel.work.flops), emitter.slot(kernel.work.bytes)
    _encode_code(words, emitter.take())
    words.u32(*slots)


def encode_program(artefact: Artefact, variant: Variant, blobs: Sequence[int]) -> bytes:
    """`blobs[i]` is where constant i went: equal constants share a blob."""
    return _ProgramEncoder(artefact, variant, blobs).encode()


@dataclass(frozen=True, slots=True)
class _OpenLoop:
    """The last segment of its body, what is known around it, and its symbols."""

    last: int
    around: Scope
    symbols: list[str]


class _ProgramEncoder:
    """Walks the segments in order, emitting formulas as they are needed: a check before what it protects."""

    def __init__(self, artefact: Artefact, variant: Variant, blobs: Sequence[int]) -> None:
        self._signature = artefact.signature
        self._program: Program = variant.program
        self._kernels = variant.kernels
        self._blobs = blobs
        self._emitter = Emitter(variant.preset)
        self._messages: dict[str, int] = {}
        self._reads: dict[str, int] = {}  # number of each symbol that reads and sets bind
        self._loops: list[_OpenLoop] = []

    def encode(self) -> bytes:
        self._bind_inputs()
        segments = Words()
        for number in range(len(self._program.segments)):
            self._encode_segment(segments, number)
            self._bind_reads(number)
        for port in self._signature.outputs:
            segments.u32(*(self._emitter.slot(dim) for dim in port.dims))
        program = self._program
        words = Words()
        words.u32(self._emitter.count, len(program.buffers), sum(len(s.steps) for s in program.segments))
        words.u32(len(self._reads), sum(len(launch.scalars) for launch in program.launches))
        words.u32(program.states, len(self._messages))
        for message in self._messages:
            words.string(message)
        words.u32(len(program.segments))
        words.raw(segments.data())
        return words.data()

    def _bind_inputs(self) -> None:
        """A symbol is bound by the first dim that is this symbol alone; then every other dim is checked."""
        others: list[tuple[int, int, Dim]] = []
        for i, port in enumerate(self._signature.inputs):
            for j, dim in enumerate(port.dims):
                if _is_symbol(dim) and not self._emitter.is_bound(dim.symbols[0]):
                    self._emitter.bind(dim.symbols[0], self._emitter.emit(Op.DIM, i, j))
                elif not dim.is_constant:
                    others.append((i, j, dim))
        for i, j, dim in others:
            found = self._emitter.emit(Op.DIM, i, j)
            self._emitter.emit(Op.EXPECT, found, self._emitter.slot(dim))

    def _message(self, text: str) -> int:
        return self._messages.setdefault(text, len(self._messages))

    def _bind_reads(self, number: int) -> None:
        """What a segment has bound is known from the next one on; behind a loop, its symbols once more."""
        segments = self._program.segments
        fresh = [b.symbol for b in segments[number].reads if b.symbol not in self._reads]
        self._reads |= {symbol: len(self._reads) + i for i, symbol in enumerate(fresh)}
        following = segments[number + 1].loop if number + 1 < len(segments) else None
        if following is not None:
            self._loops.append(_OpenLoop(number + 1 + following.segments, self._emitter.scope(), fresh))
        elif self._loops and self._loops[-1].last == number:
            closed = self._loops.pop()
            self._emitter.leave(closed.around)
            fresh = closed.symbols
        for symbol in fresh:
            self._emitter.bind(symbol, self._emitter.emit(Op.READ, self._reads[symbol]))

    def _encode_segment(self, words: Words, number: int) -> None:
        segment = self._program.segments[number]
        slot = self._emitter.slot
        for check in segment.checks:
            self._emitter.emit(Op.CHECK, slot(check.value), self._message(check.message))
        arena = slot(segment.arena)
        buffers = Words()
        for buffer in segment.buffers:
            index = self._blobs[buffer.base.index] if buffer.base.kind == "constant" else buffer.base.index
            buffers.u32(BASES[buffer.base.kind], index, slot(buffer.offset), slot(buffer.bytes))
        steps = Words()
        for step in segment.steps:
            self._encode_step(steps, step)
        reads = Words()
        for index, read in enumerate(segment.reads):
            self._encode_read(reads, read, index)
        if segment.loop is not None:
            loop = segment.loop
            _encode_step_words(reads, StepOp.LOOP, slot(loop.limit), slot(loop.condition), loop.segments)
        if not self._loops:
            self._emit_output_dims(is_last=number == len(self._program.segments) - 1)
        code = self._emitter.take()
        _encode_code(words, code)
        words.u32(arena, segment.device, len(segment.buffers))
        words.raw(buffers.data())
        words.u32((len(steps.data()) + len(reads.data())) // 4)
        words.raw(steps.data())
        words.raw(reads.data())

    def _encode_read(self, words: Words, read: Read | Set, index: int) -> None:
        slot = self._emitter.slot
        if isinstance(read, Set):
            number = self._reads.get(read.symbol, len(self._reads) + index)
            _encode_step_words(words, StepOp.SET, number, slot(read.value))
            return
        row = (read.buffer, slot(read.element), DTYPES[read.dtype.name], slot(read.low), slot(read.high))
        _encode_step_words(words, StepOp.READ, *row, self._message(read.message))

    def _emit_output_dims(self, is_last: bool) -> None:
        """As early as their symbols are there; in the last segment whatever is missing is an error."""
        for port in self._signature.outputs:
            for dim in port.dims:
                if is_last or all(self._emitter.is_bound(s) for s in dim.symbols):
                    self._emitter.slot(dim)

    def _encode_step(self, words: Words, step: Launch | Copy) -> None:
        slot = self._emitter.slot
        when = NO_SLOT if step.when is None else slot(step.when)
        if isinstance(step, Copy):
            _encode_step_words(words, StepOp.COPY, step.source, step.target, when)
            return
        head = (step.kernel, slot(step.tasks), slot(step.grain), when)
        scalars = [slot(scalar) for scalar in step.scalars]
        _encode_step_words(words, StepOp.LAUNCH, *head, *step.buffers, *scalars)


def _encode_step_words(words: Words, op: StepOp, *row: int) -> None:
    words.u32(op | (len(row) + 1) << 16, *row)


def _is_symbol(dim: Dim) -> bool:
    return len(dim.symbols) == 1 and dim == Dim.symbol(dim.symbols[0])
