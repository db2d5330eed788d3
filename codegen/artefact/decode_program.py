"""The program section's bytes as a `Program`.  In: bytes, the signature, the kernels.  Out: segments with formulas.

The mirror of the program's encoder in `encode`, in two passes: structure first, then, when the debug section has
given the names of symbols, formulas in place of slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace.codegen.artefact.cursor import Cursor
from headrace.codegen.artefact.decode import DebugInfo, RawKernel, decode_code
from headrace.codegen.artefact.formula import Instruction, Op, decode
from headrace.codegen.artefact.layout import BASES, DTYPE_OF, NO_SLOT, StepOp
from headrace.codegen.artefact.model import (
    Base,
    Buffer,
    Check,
    Copy,
    Launch,
    Program,
    Read,
    Segment,
    Signature,
    Step,
)
from headrace.ir.dims import Dim
from headrace.ir.types import BOOL, DType

_BASE_OF = {number: base for base, number in BASES.items()}


class ProgramDecoder:
    """The counterpart of the encoder: first structure, then, with the debug section's names, formulas."""

    def __init__(self, cursor: Cursor, signature: Signature, kernels: Sequence[RawKernel], constants: int) -> None:
        self._cursor = cursor
        self._signature = signature
        self._kernels = kernels
        self._constants = constants
        self._code: list[tuple[Instruction, ...]] = []
        self._segments: list[Segment] = []  # with slots for formulas: Dim.constant(slot)
        self._slots = self._buffers = self._reads = 0
        self.steps = 0
        self._outputs: tuple[tuple[int, ...], ...] = ()
        self._messages: tuple[str, ...] = ()
        self._read_structure()

    @property
    def reads(self) -> int:
        return self._reads

    def _read_structure(self) -> None:
        cursor = self._cursor
        slots, buffers, steps, reads = (cursor.count(size) for size in (12, 16, 16, 28))
        scalars = cursor.count(4)
        self._messages = tuple(cursor.string() for _ in range(cursor.count(8)))
        segments = cursor.count(16)
        for number in range(segments):
            self._segments.append(self._read_segment(number))
            if bool(self._segments[-1].reads) == (number == segments - 1):
                raise cursor.damaged("reads end every segment but the last")
        found_scalars = sum(len(s.scalars) for p in self._segments for s in p.steps if isinstance(s, Launch))
        found = (self._slots, self._buffers, self.steps, self._reads, found_scalars)
        if found != (slots, buffers, steps, reads, scalars) or not segments:
            raise cursor.damaged(f"its counts are {found}, stated are {(slots, buffers, steps, reads, scalars)}")
        ranks = [len(port.dims) for port in self._signature.outputs]
        self._outputs = tuple(tuple(cursor.below(slots, "slot") for _ in range(rank)) for rank in ranks)
        cursor.end()

    def _is_leaf(self, op: int, a: int, b: int) -> bool:
        inputs = self._signature.inputs
        if op == Op.DIM:
            return a < len(inputs) and b < len(inputs[a].dims)
        return op == Op.READ and a < self._reads and b == 0

    def _slot(self) -> Dim:
        return Dim.constant(self._cursor.below(self._slots, "slot"))

    def _optional_slot(self) -> Dim | None:
        slot = self._cursor.u32()
        if slot != NO_SLOT and slot >= self._slots:
            raise self._cursor.damaged(f"slot {slot} of {self._slots}")
        return None if slot == NO_SLOT else Dim.constant(slot)

    def _buffer(self) -> int:
        return self._cursor.below(self._buffers, "buffer")

    def _read_segment(self, number: int) -> Segment:
        cursor = self._cursor
        code = decode_code(cursor, self._slots, self._is_leaf, len(self._messages))
        checks = tuple(Check(Dim.constant(a), self._messages[b]) for op, a, b in code if op == Op.CHECK)
        self._code.append(code)
        self._slots += len(code)
        arena = self._slot()
        buffers = tuple(self._read_buffer(number) for _ in range(cursor.count(16)))
        self._buffers += len(buffers)
        words = cursor.count(4)
        steps: list[Step] = []
        reads: list[Read] = []
        while words > 0:
            words -= self._read_step(steps, reads)
        if words:
            raise cursor.damaged("a step is longer than its segment")
        self.steps += len(steps)
        self._reads += len(reads)
        return Segment(checks, buffers, arena, tuple(steps), tuple(reads))

    def _read_buffer(self, segment: int) -> Buffer:
        kind = self._cursor.pick(_BASE_OF, "base")
        limits = {
            "input": len(self._signature.inputs),
            "output": len(self._signature.outputs),
            "constant": self._constants,
            "arena": segment + 1,
        }
        index = self._cursor.below(limits[kind], kind)
        return Buffer(Base(kind, index), self._slot(), self._slot())

    def _read_step(self, steps: list[Step], reads: list[Read]) -> int:
        cursor = self._cursor
        head = cursor.u32()
        op, words = head & 0xFFFF, head >> 16
        if op == StepOp.READ:
            row = (self._buffer(), self._slot(), cursor.pick(DTYPE_OF, "dtype"), self._slot(), self._slot())
            reads.append(self._checked_read(*row, cursor.below(len(self._messages), "message")))
            expected = 7
        elif reads or op not in (StepOp.LAUNCH, StepOp.COPY):
            raise cursor.damaged(f"step {op} is unknown, or follows a read")
        elif op == StepOp.COPY:
            steps.append(Copy(self._buffer(), self._buffer(), self._optional_slot()))
            expected = 4
        else:
            kernel = cursor.below(len(self._kernels), "kernel")
            tasks, grain, when = self._slot(), self._slot(), self._optional_slot()
            buffers = tuple(self._buffer() for _ in self._kernels[kernel].buffers)
            scalars = tuple(self._slot() for _ in range(self._kernels[kernel].scalars))
            steps.append(Launch(kernel, buffers, scalars, tasks, grain, when))
            expected = 5 + len(buffers) + len(scalars)
        if words != expected:
            raise cursor.damaged(f"a step has {words} words, expected {expected}")
        return words

    def _checked_read(self, buffer: int, element: Dim, dtype: DType, low: Dim, high: Dim, message: int) -> Read:
        if not (dtype.is_integer or dtype == BOOL):
            raise self._cursor.damaged(f"reads an element of {dtype}")
        return Read("", buffer, element, dtype, low, high, self._messages[message])

    def finish(self, debug: DebugInfo) -> Program:
        """The program with formulas in place of slots."""
        formulas: list[Dim] = []
        for code in self._code:
            decode(code, formulas, lambda instruction: self._leaf(instruction, debug))
        for port, slots in zip(self._signature.outputs, self._outputs, strict=True):
            if tuple(formulas[slot] for slot in slots) != port.dims:
                raise self._cursor.damaged(f"the dims of output {port.name!r} are not those of the signature")
        nodes, symbols = iter(debug.nodes), iter(debug.symbols)
        return Program(
            tuple(
                Segment(
                    tuple(Check(_at(formulas, c.value), c.message) for c in segment.checks),
                    tuple(Buffer(b.base, _at(formulas, b.offset), _at(formulas, b.bytes)) for b in segment.buffers),
                    _at(formulas, segment.arena),
                    tuple(_with_formulas(step, formulas, next(nodes)) for step in segment.steps),
                    tuple(_read_with_formulas(read, formulas, next(symbols)) for read in segment.reads),
                )
                for segment in self._segments
            )
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


def _read_with_formulas(read: Read, formulas: Sequence[Dim], symbol: str) -> Read:
    element, low, high = (_at(formulas, slot) for slot in (read.element, read.low, read.high))
    return replace(read, symbol=symbol, element=element, low=low, high=high)
