"""The program section's bytes as a `Program`.  In: bytes, the signature, the kernels.  Out: segments with formulas.

The mirror of the program's encoder in `encode`, in two passes: structure first, then, when the debug section has
given the names of symbols, formulas in place of slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.codegen.artefact.cursor import Cursor
from headrace.codegen.artefact.decode import DebugInfo, RawKernel, decode_code
from headrace.codegen.artefact.formula import Instruction, Op, decode
from headrace.codegen.artefact.layout import BASES, DTYPE_OF, MAX_LOOPS, NO_SLOT, StepOp
from headrace.codegen.artefact.model import (
    Base,
    Buffer,
    Check,
    Copy,
    Launch,
    Loop,
    Program,
    Read,
    Segment,
    Set,
    Signature,
    Step,
)
from headrace.ir.dims import Dim
from headrace.ir.types import BOOL, DType

_BASE_OF = {number: base for base, number in BASES.items()}


class ProgramDecoder:
    """The counterpart of the encoder: first structure, then, with the debug section's names, formulas."""

    def __init__(
        self, cursor: Cursor, format: int, signature: Signature, kernels: Sequence[RawKernel], constants: int
    ) -> None:
        self._cursor = cursor
        self._format = format
        self._signature = signature
        self._kernels = kernels
        self._constants = constants
        self._code: list[tuple[Instruction, ...]] = []
        self._segments: list[Segment] = []  # with slots for formulas: Dim.constant(slot)
        self._slots = self._buffers = self._reads = self._states = 0
        self._device = 0  # of the segment that is being read
        self._loops: list[_OpenLoop] = []
        self._hidden_slots: set[int] = set()  # those of loops that are closed
        self._hidden_buffers: set[int] = set()
        self._hidden_segments: set[int] = set()
        self.steps = 0
        self._outputs: tuple[tuple[int, ...], ...] = ()
        self._messages: tuple[str, ...] = ()
        self._read_structure()

    @property
    def reads(self) -> int:
        return self._reads

    def _read_structure(self) -> None:
        cursor = self._cursor
        slots, buffers, steps, reads = (cursor.count(size) for size in (12, 16, 16, 12))
        scalars = cursor.count(4)
        self._states = cursor.below(buffers + 1, "state") if self._format >= 4 else 0
        self._messages = tuple(cursor.string() for _ in range(cursor.count(8)))
        segments = cursor.count(16)
        for number in range(segments):
            self._segments.append(self._read_segment(number))
            last = self._segments[-1]
            ends, is_last = bool(last.reads or last.loop), number == segments - 1
            if ends == is_last and (is_last or self._format < 4):
                raise cursor.damaged("reads or a loop end every segment but the last")
            self._follow_loops(number)
        found_scalars = sum(len(s.scalars) for p in self._segments for s in p.steps if isinstance(s, Launch))
        found = (self._slots, self._buffers, self.steps, self._reads, found_scalars)
        if found != (slots, buffers, steps, reads, scalars) or not segments:
            raise cursor.damaged(f"its counts are {found}, stated are {(slots, buffers, steps, reads, scalars)}")
        ranks = [len(port.dims) for port in self._signature.outputs]
        self._outputs = tuple(tuple(self._slot().value for _ in range(rank)) for rank in ranks)
        cursor.end()

    def _follow_loops(self, number: int) -> None:
        """Opens the segment's loop, and closes those whose bodies end with it."""
        segment = self._segments[number]
        if segment.loop is not None:
            before = self._segments[number - 1] if number else None
            if before is None or before.loop or not all(isinstance(r, Set) for r in before.reads):
                raise self._cursor.damaged("what a loop starts with is not set before it")
            last = number + segment.loop.segments
            if last == number or (self._loops and last >= self._loops[-1].last) or len(self._loops) == MAX_LOOPS:
                raise self._cursor.damaged(f"a loop's body would end with segment {last}")
            first = self._slots - len(self._code[-1])
            fresh = range(self._reads - len(before.reads), self._reads)
            self._loops.append(_OpenLoop(number, last, first, self._buffers, fresh))
        elif self._loops and self._loops[-1].last == number:
            closed = self._loops.pop()
            self._hidden_slots.update(range(closed.slots, self._slots))
            self._hidden_buffers.update(range(closed.buffers, self._buffers))
            self._hidden_segments.update(range(closed.head, number + 1))

    def _is_leaf(self, op: int, a: int, b: int) -> bool:
        inputs = self._signature.inputs
        if op == Op.DIM:
            return a < len(inputs) and b < len(inputs[a].dims)
        return op == Op.READ and a < self._reads and b == 0

    def _slot(self) -> Dim:
        slot = self._cursor.below(self._slots, "slot")
        if slot in self._hidden_slots:
            raise self._cursor.damaged(f"slot {slot} is of a loop that is closed")
        return Dim.constant(slot)

    def _optional_slot(self) -> Dim | None:
        slot = self._cursor.u32()
        if slot != NO_SLOT and (slot >= self._slots or slot in self._hidden_slots):
            raise self._cursor.damaged(f"slot {slot} of {self._slots}")
        return None if slot == NO_SLOT else Dim.constant(slot)

    def _buffer(self) -> int:
        buffer = self._cursor.below(self._buffers, "buffer")
        if buffer in self._hidden_buffers:
            raise self._cursor.damaged(f"buffer {buffer} is of a loop that is closed")
        return buffer

    def _read_segment(self, number: int) -> Segment:
        cursor = self._cursor
        code = decode_code(cursor, self._slots, self._is_leaf, len(self._messages), self._hidden_slots)
        checks = tuple(Check(Dim.constant(a), self._messages[b]) for op, a, b in code if op == Op.CHECK)
        self._code.append(code)
        self._slots += len(code)
        arena = self._slot()
        self._device = cursor.u32() if self._format >= 4 else 0
        buffers = tuple(self._read_buffer(number) for _ in range(cursor.count(16)))
        self._buffers += len(buffers)
        words = cursor.count(4)
        steps: list[Step] = []
        reads: list[Read | Set] = []
        loops: list[Loop] = []
        while words > 0:
            words -= self._read_step(steps, reads, loops, number)
        if words:
            raise cursor.damaged("a step is longer than its segment")
        if loops and (steps or reads or buffers or len(loops) > 1):
            raise cursor.damaged("a segment holds more than its loop")
        self.steps += len(steps)
        loop = loops[0] if loops else None
        return Segment(checks, buffers, arena, tuple(steps), tuple(reads), self._device, loop)

    def _read_buffer(self, segment: int) -> Buffer:
        kind = self._cursor.pick(_BASE_OF, "base")
        limits = {
            "input": len(self._signature.inputs),
            "output": len(self._signature.outputs),
            "constant": self._constants,
            "arena": segment + 1,
            "state": self._states,
        }
        index = self._cursor.below(limits[kind], kind)
        if kind == "arena" and index in self._hidden_segments:
            raise self._cursor.damaged(f"arena {index} is of a loop that is closed")
        return Buffer(Base(kind, index), self._slot(), self._slot())

    def _read_step(self, steps: list[Step], reads: list[Read | Set], loops: list[Loop], segment: int) -> int:
        cursor = self._cursor
        head = cursor.u32()
        op, words = head & 0xFFFF, head >> 16
        if op == StepOp.READ:
            row = (self._buffer(), self._slot(), cursor.pick(DTYPE_OF, "dtype"), self._slot(), self._slot())
            reads.append(self._checked_read(*row, cursor.below(len(self._messages), "message")))
            self._reads += 1
            expected = 7
        elif op == StepOp.SET and self._format >= 4:
            reads.append(self._read_set(segment))
            expected = 3
        elif op == StepOp.LOOP and self._format >= 4:
            loops.append(Loop(self._slot(), self._slot(), cursor.u32()))
            expected = 4
        elif reads or op not in (StepOp.LAUNCH, StepOp.COPY):
            raise cursor.damaged(f"step {op} is unknown, or follows a read")
        elif op == StepOp.COPY:
            steps.append(Copy(self._buffer(), self._buffer(), self._optional_slot()))
            expected = 4
        else:
            kernel = cursor.below(len(self._kernels), "kernel")
            if self._kernels[kernel].device != self._device:
                raise cursor.damaged(f"kernel {kernel} is of another device than its segment")
            tasks, grain, when = self._slot(), self._slot(), self._optional_slot()
            buffers = tuple(self._buffer() for _ in self._kernels[kernel].buffers)
            scalars = tuple(self._slot() for _ in range(self._kernels[kernel].scalars))
            steps.append(Launch(kernel, buffers, scalars, tasks, grain, when))
            expected = 5 + len(buffers) + len(scalars)
        if words != expected:
            raise cursor.damaged(f"a step has {words} words, expected {expected}")
        return words

    def _read_set(self, segment: int) -> Set:
        """Of a new symbol, or of one of the loop whose body ends with the segment."""
        number = self._cursor.below(self._reads + 1, "read")
        if number == self._reads:
            self._reads += 1
        elif not self._loops or self._loops[-1].last != segment or number not in self._loops[-1].reads:
            raise self._cursor.damaged(f"read {number} is no symbol of the loop that ends here")
        return Set(str(number), self._slot())

    def _checked_read(self, buffer: int, element: Dim, dtype: DType, low: Dim, high: Dim, message: int) -> Read:
        if not (dtype.is_integer or dtype == BOOL):
            raise self._cursor.damaged(f"reads an element of {dtype}")
        return Read(str(self._reads), buffer, element, dtype, low, high, self._messages[message])

    def finish(self, debug: DebugInfo) -> Program:
        """The program with formulas in place of slots."""
        formulas: list[Dim] = []
        for code in self._code:
            decode(code, formulas, lambda instruction: self._leaf(instruction, debug))
        for port, slots in zip(self._signature.outputs, self._outputs, strict=True):
            if tuple(formulas[slot] for slot in slots) != port.dims:
                raise self._cursor.damaged(f"the dims of output {port.name!r} are not those of the signature")
        nodes = iter(debug.nodes)
        return Program(
            tuple(
                Segment(
                    tuple(Check(_at(formulas, c.value), c.message) for c in segment.checks),
                    tuple(Buffer(b.base, _at(formulas, b.offset), _at(formulas, b.bytes)) for b in segment.buffers),
                    _at(formulas, segment.arena),
                    tuple(_with_formulas(step, formulas, next(nodes)) for step in segment.steps),
                    tuple(_read_with_formulas(read, formulas, debug.symbols) for read in segment.reads),
                    segment.device,
                    segment.loop and _loop_with_formulas(segment.loop, formulas),
                )
                for segment in self._segments
            ),
            self._states,
        )

    def _leaf(self, instruction: Instruction, debug: DebugInfo) -> Dim:
        op, a, b = instruction
        return self._signature.inputs[a].dims[b] if op == Op.DIM else Dim.symbol(debug.symbols[a])


def _at(formulas: Sequence[Dim], slot: Dim) -> Dim:
    return formulas[slot.value]


def _with_formulas(step: Step, formulas: Sequence[Dim], nodes: tuple[str, ...]) -> Step:
    when = None if step.when is None else _at(formulas, step.when)
    if isinstance(step, Copy):
        return replace(step, when=when, nodes=nodes)
    scalars = tuple(_at(formulas, slot) for slot in step.scalars)
    tasks, grain = _at(formulas, step.tasks), _at(formulas, step.grain)
    return replace(step, scalars=scalars, tasks=tasks, grain=grain, when=when, nodes=nodes)


def _read_with_formulas(read: Read | Set, formulas: Sequence[Dim], symbols: Sequence[str]) -> Read | Set:
    symbol = symbols[int(read.symbol)]
    if isinstance(read, Set):
        return Set(symbol, _at(formulas, read.value))
    element, low, high = (_at(formulas, slot) for slot in (read.element, read.low, read.high))
    return replace(read, symbol=symbol, element=element, low=low, high=high)


def _loop_with_formulas(loop: Loop, formulas: Sequence[Dim]) -> Loop:
    return replace(loop, limit=_at(formulas, loop.limit), condition=_at(formulas, loop.condition))


@dataclass(frozen=True, slots=True)
class _OpenLoop:
    """Its own segment, the last one of its body, where its slots and buffers begin, and its symbols."""

    head: int
    last: int
    slots: int
    buffers: int
    reads: range
