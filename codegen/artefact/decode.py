"""Each section's bytes as a part of the model.  In: bytes.  Out: dataclasses, or an `ArtefactError`.

The mirror of `encode`.  Every count is compared with the bytes that are left before anything is made of it, and
every index with what it points into, so a damaged section gives one error and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from headrace.codegen.artefact.formula import Instruction, Op, decode
from headrace.codegen.artefact.layout import (
    BASES,
    DTYPE_OF,
    KINDS,
    MACHINES,
    MAX_BUFFERS,
    MAX_RANK,
    MAX_SCALARS,
    NO_SLOT,
    StepOp,
)
from headrace.codegen.artefact.model import (
    Base,
    Buffer,
    Check,
    Copy,
    Kernel,
    KernelBuffer,
    Launch,
    Machine,
    Port,
    Program,
    Read,
    Segment,
    Signature,
    Site,
    Step,
)
from headrace.ir.dims import Dim, parse_dim
from headrace.ir.errors import ArtefactError, DimError, ParseError
from headrace.ir.types import DType

T = TypeVar("T")

_KIND_OF = {number: kind for kind, number in KINDS.items()}
_MACHINE_OF = {number: machine for machine, number in MACHINES.items()}
_BASE_OF = {number: base for base, number in BASES.items()}


class Cursor:
    """Reads a section from front to back; `place` and `origin` say in errors where it stands in the file."""

    def __init__(self, data: memoryview, place: str, origin: int) -> None:
        self._data = data
        self._place = place
        self._origin = origin
        self._at = 0

    def damaged(self, why: str) -> ArtefactError:
        return ArtefactError(f"{self._place} is damaged at offset {self._origin + self._at}: {why}")

    def raw(self, count: int) -> memoryview:
        if count > len(self._data) - self._at:
            raise self.damaged("it ends too early")
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def u32(self) -> int:
        return int.from_bytes(self.raw(4), "little")

    def i64(self) -> int:
        return int.from_bytes(self.raw(8), "little", signed=True)

    def words(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.raw(4 * count))

    def string(self) -> str:
        length = self.u32()
        stored = bytes(self.raw((length // 4 + 1) * 4))
        if any(stored[length:]) or 0 in stored[:length]:
            raise self.damaged("a string is not ended by zeros")
        try:
            return stored[:length].decode()
        except UnicodeDecodeError:
            raise self.damaged("a string is no UTF-8") from None

    def count(self, record_bytes: int) -> int:
        found = self.u32()
        if found > (len(self._data) - self._at) // record_bytes:
            raise self.damaged(f"{found} records do not fit")
        return found

    def pick(self, table: dict[int, T], what: str) -> T:
        number = self.u32()
        if number not in table:
            raise self.damaged(f"there is no {what} {number}")
        return table[number]

    def below(self, limit: int, what: str) -> int:
        number = self.u32()
        if number >= limit:
            raise self.damaged(f"{what} {number} of {limit}")
        return number

    def end(self) -> None:
        if self._at != len(self._data):
            raise self.damaged("there is more than belongs to it")


def decode_signature(cursor: Cursor) -> Signature:
    inputs, outputs = cursor.count(20), cursor.count(20)
    ports = tuple(_decode_port(cursor) for _ in range(inputs + outputs))
    cursor.end()
    return Signature(ports[:inputs], ports[inputs:])


def _decode_port(cursor: Cursor) -> Port:
    name = cursor.string()
    kind = cursor.pick(_KIND_OF, "kind")
    dtype = cursor.pick(DTYPE_OF, "dtype")
    rank = cursor.count(12)
    if rank > MAX_RANK:
        raise cursor.damaged(f"rank is {rank}")
    return Port(name, dtype, tuple(_decode_dim(cursor) for _ in range(rank)), kind)


def _decode_dim(cursor: Cursor) -> Dim:
    size, text = cursor.i64(), cursor.string()
    try:
        dim = parse_dim(text)
    except (DimError, ParseError):
        raise cursor.damaged(f"{text!r} is no dim") from None
    if (size >= 0) != dim.is_constant or (dim.is_constant and dim.value != size) or size < -1:
        raise cursor.damaged(f"a dim is {size} and {text!r}")
    return dim


def decode_metadata(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    found = tuple((cursor.string(), cursor.string()) for _ in range(cursor.count(16)))
    cursor.end()
    return found


@dataclass(frozen=True, slots=True)
class StoredConstant:
    """A row of the constant table; the offset is that within the section of constants."""

    offset: int
    size: int
    digest: bytes
    label: str


def decode_constant_table(cursor: Cursor, section_bytes: int) -> tuple[StoredConstant, ...]:
    rows: list[StoredConstant] = []
    end = 0
    for _ in range(cursor.count(56)):
        row = StoredConstant(cursor.i64(), cursor.i64(), bytes(cursor.raw(32)), cursor.string())
        if row.offset % 64 or not 0 <= row.offset - end < 64 or not 0 <= row.size <= section_bytes - row.offset:
            raise cursor.damaged(f"constant {len(rows)} would be {row.size} bytes at {row.offset}")
        end = row.offset + row.size
        rows.append(row)
    if end != section_bytes:
        raise cursor.damaged(f"constants end at {end}, their section at {section_bytes}")
    cursor.end()
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class VariantHead:
    preset: str
    machine: Machine
    driver: str
    features: tuple[str, ...]


def decode_variant(cursor: Cursor) -> VariantHead:
    preset = cursor.string()
    machine = cursor.pick(_MACHINE_OF, "machine")
    driver = cursor.string()
    features = tuple(cursor.string() for _ in range(cursor.count(8)))
    cursor.end()
    return VariantHead(preset, machine, driver, features)


@dataclass(frozen=True, slots=True)
class DebugInfo:
    """The names that the program and the kernels do without."""

    scalars: tuple[tuple[str, ...], ...]  # of each kernel
    texts: tuple[str, ...]
    sites: tuple[tuple[Site, ...], ...]
    nodes: tuple[tuple[str, ...], ...]  # of each step
    symbols: tuple[str, ...]  # of each read


def decode_debug(cursor: Cursor, scalar_counts: Sequence[int], steps: int, reads: int) -> DebugInfo:
    scalars, texts, sites = [], [], []
    for count in scalar_counts:
        scalars.append(tuple(cursor.string() for _ in range(count)))
        texts.append(cursor.string())
        sites.append(tuple(_decode_site(cursor) for _ in range(cursor.count(12))))
    nodes = tuple(tuple(cursor.string() for _ in range(cursor.count(8))) for _ in range(steps))
    symbols = tuple(cursor.string() for _ in range(reads))
    cursor.end()
    return DebugInfo(tuple(scalars), tuple(texts), tuple(sites), nodes, symbols)


def _decode_site(cursor: Cursor) -> Site:
    node = cursor.u32()
    return Site(cursor.string(), node)


@dataclass(frozen=True, slots=True)
class _RawKernel:
    name: str
    entry: int
    alignment: int
    scalars: int
    code: tuple[Instruction, ...]
    scratch: int
    buffers: tuple[tuple[int, int], ...]


def decode_kernels(cursor: Cursor, image_bytes: int) -> tuple[_RawKernel, ...]:
    kernels = tuple(_decode_kernel(cursor, image_bytes) for _ in range(cursor.count(32)))
    cursor.end()
    return kernels


def _decode_kernel(cursor: Cursor, image_bytes: int) -> _RawKernel:
    name = cursor.string()
    entry = cursor.below(image_bytes, "entry")
    alignment = cursor.u32()
    scalars = cursor.below(MAX_SCALARS + 1, "scalar")
    code = _decode_code(cursor, 0, lambda op, a, b: op == Op.ARG and a < scalars and b == 0)
    scratch = cursor.below(len(code), "slot")
    count = cursor.count(8)
    if count > MAX_BUFFERS or alignment not in (1 << i for i in range(13)):
        raise cursor.damaged(f"kernel {name!r} has {count} buffers and scratch alignment {alignment}")
    buffers = tuple((cursor.below(2, "flag"), cursor.below(len(code), "slot")) for _ in range(count))
    return _RawKernel(name, entry, alignment, scalars, code, scratch, buffers)


def name_kernels(raw: Sequence[_RawKernel], debug: DebugInfo) -> tuple[Kernel, ...]:
    """The kernels with the names of their scalars, which formulas need."""
    return tuple(_name_kernel(kernel, number, debug) for number, kernel in enumerate(raw))


def _name_kernel(raw: _RawKernel, number: int, debug: DebugInfo) -> Kernel:
    names = debug.scalars[number]
    slots: list[Dim] = []
    decode(raw.code, slots, lambda instruction: Dim.symbol(names[instruction[1]]))
    return Kernel(
        name=raw.name,
        entry=raw.entry,
        buffers=tuple(KernelBuffer(slots[slot], bool(written)) for written, slot in raw.buffers),
        scalars=names,
        scratch=slots[raw.scratch],
        scratch_alignment=raw.alignment,
        sites=debug.sites[number],
        text=debug.texts[number],
    )


Leaf = Callable[[int, int, int], bool]


def _decode_code(cursor: Cursor, first: int, is_leaf: Leaf, messages: int = 0) -> tuple[Instruction, ...]:
    """`first`: the slot that the first instruction defines."""
    code: list[Instruction] = []
    for number in range(cursor.count(12)):
        op, a, b = cursor.words(3)
        slot = first + number
        if op == Op.CONST:
            sound = True
        elif Op.ADD <= op <= Op.MAX:
            sound = a < slot and b < slot
        elif op == Op.CHECK:
            sound = a < slot and b < messages
        elif op == Op.EXPECT:
            sound = first <= a < slot and b < slot and code[a - first][0] == Op.DIM
        else:
            sound = is_leaf(op, a, b)
        if not sound:
            raise cursor.damaged(f"instruction {op} {a} {b} in slot {slot}")
        code.append((op, a, b))
    return tuple(code)


class ProgramDecoder:
    """The counterpart of the encoder: first structure, then, with the debug section's names, formulas."""

    def __init__(self, cursor: Cursor, signature: Signature, kernels: Sequence[_RawKernel], constants: int) -> None:
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
        code = _decode_code(cursor, self._slots, self._is_leaf, len(self._messages))
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
        if dtype.is_float:
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
