"""Each section's bytes as a part of the model.  In: bytes.  Out: dataclasses, or an `ArtefactError`.

The mirror of `encode`.  Every count is compared with the bytes that are left before anything is made of it, and
every index with what it points into, so a damaged section gives one error and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from headrace.codegen.artefact.cursor import Cursor
from headrace.codegen.artefact.formula import Instruction, Op, decode
from headrace.codegen.artefact.layout import (
    DTYPE_OF,
    KINDS,
    MACHINES,
    MAX_BUFFERS,
    MAX_RANK,
    MAX_SCALARS,
    padding,
)
from headrace.codegen.artefact.model import (
    ANY_TASKS,
    Kernel,
    KernelBuffer,
    Machine,
    Port,
    Signature,
    Site,
    Work,
)
from headrace.ir.dims import Dim, parse_dim
from headrace.ir.errors import DimError, ParseError

_KIND_OF = {number: kind for kind, number in KINDS.items()}
_MACHINE_OF = {number: machine for machine, number in MACHINES.items()}


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
    image_bytes: int | None  # of the first device; None: all of the section
    devices: tuple[tuple[str, int], ...]  # driver and bytes of each other one

    def images(self, code: memoryview, cursor: Cursor) -> list[bytes]:
        """The images of all devices, each at a multiple of 64 in the section of code."""
        if self.image_bytes is None:
            return [bytes(code)]
        found, at = [], 0
        for size in (self.image_bytes, *(size for _, size in self.devices)):
            start = at + padding(at)
            if size > len(code) - start or any(code[at:start]):
                raise cursor.damaged(f"an image would be {size} bytes at {start} of {len(code)}")
            found.append(bytes(code[start : start + size]))
            at = start + size
        if at != len(code):
            raise cursor.damaged(f"images end at {at}, their section at {len(code)}")
        return found


def decode_variant(cursor: Cursor, format: int) -> VariantHead:
    preset = cursor.string()
    machine = cursor.pick(_MACHINE_OF, "machine")
    driver = cursor.string()
    features = tuple(cursor.string() for _ in range(cursor.count(8)))
    image_bytes: int | None = None
    devices: tuple[tuple[str, int], ...] = ()
    if format >= 4:
        image_bytes = cursor.u32()
        devices = tuple((cursor.string(), cursor.u32()) for _ in range(cursor.count(12)))
    cursor.end()
    return VariantHead(preset, machine, driver, features, image_bytes, devices)


@dataclass(frozen=True, slots=True)
class RawWork:
    code: tuple[Instruction, ...]
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DebugInfo:
    """The names that the program and the kernels do without."""

    scalars: tuple[tuple[str, ...], ...]  # of each kernel
    texts: tuple[str, ...]
    sites: tuple[tuple[Site, ...], ...]
    work: tuple[RawWork | None, ...]
    nodes: tuple[tuple[str, ...], ...]  # of each step
    symbols: tuple[str, ...]  # of each read


def decode_debug(cursor: Cursor, format: int, scalar_counts: Sequence[int], steps: int, reads: int) -> DebugInfo:
    scalars, texts, sites, work = [], [], [], []
    for count in scalar_counts:
        scalars.append(tuple(cursor.string() for _ in range(count)))
        texts.append(cursor.string())
        sites.append(tuple(_decode_site(cursor) for _ in range(cursor.count(12))))
        work.append(_decode_work(cursor, count) if format >= 2 else None)
    nodes = tuple(tuple(cursor.string() for _ in range(cursor.count(8))) for _ in range(steps))
    symbols = tuple(cursor.string() for _ in range(reads))
    cursor.end()
    return DebugInfo(tuple(scalars), tuple(texts), tuple(sites), tuple(work), nodes, symbols)


def _decode_site(cursor: Cursor) -> Site:
    node = cursor.u32()
    return Site(cursor.string(), node)


def _decode_work(cursor: Cursor, scalars: int) -> RawWork | None:
    code = decode_code(cursor, 0, lambda op, a, b: op == Op.ARG and a < scalars and b == 0)
    return RawWork(code, cursor.below(len(code), "slot"), cursor.below(len(code), "slot")) if code else None


@dataclass(frozen=True, slots=True)
class RawKernel:
    name: str
    entry: int
    alignment: int
    scalars: int
    code: tuple[Instruction, ...]
    scratch: int
    buffers: tuple[tuple[int, int], ...]
    tasks: int | None
    requires: tuple[int, ...]
    device: int


def decode_kernels(cursor: Cursor, format: int, image_bytes: Sequence[int]) -> tuple[RawKernel, ...]:
    """`image_bytes`: of each device."""
    kernels = tuple(_decode_kernel(cursor, format, image_bytes) for _ in range(cursor.count(32)))
    cursor.end()
    return kernels


def _decode_kernel(cursor: Cursor, format: int, image_bytes: Sequence[int]) -> RawKernel:
    name = cursor.string()
    entry = cursor.u32()
    alignment = cursor.u32()
    scalars = cursor.below(MAX_SCALARS + 1, "scalar")
    code = decode_code(cursor, 0, lambda op, a, b: op == Op.ARG and a < scalars and b == 0)
    scratch = cursor.below(len(code), "slot")
    count = cursor.count(8)
    if count > MAX_BUFFERS or alignment not in (1 << i for i in range(13)):
        raise cursor.damaged(f"kernel {name!r} has {count} buffers and scratch alignment {alignment}")
    buffers = tuple((cursor.below(2, "flag"), cursor.below(len(code), "slot")) for _ in range(count))
    tasks: int | None = None
    requires: tuple[int, ...] = ()
    if format >= 3:
        tasks = cursor.below(len(code), "slot")
        requires = tuple(cursor.below(len(code), "slot") for _ in range(cursor.count(4)))
    device = cursor.below(len(image_bytes), "device") if format >= 4 else 0
    if entry >= image_bytes[device]:
        raise cursor.damaged(f"kernel {name!r} begins at {entry} of {image_bytes[device]} bytes of code")
    return RawKernel(name, entry, alignment, scalars, code, scratch, buffers, tasks, requires, device)


def name_kernels(raw: Sequence[RawKernel], debug: DebugInfo) -> tuple[Kernel, ...]:
    """The kernels with the names of their scalars, which formulas need."""
    return tuple(_name_kernel(kernel, number, debug) for number, kernel in enumerate(raw))


def _name_kernel(raw: RawKernel, number: int, debug: DebugInfo) -> Kernel:
    names = debug.scalars[number]
    slots = _formulas(raw.code, names)
    return Kernel(
        name=raw.name,
        entry=raw.entry,
        buffers=tuple(KernelBuffer(slots[slot], bool(written)) for written, slot in raw.buffers),
        scalars=names,
        scratch=slots[raw.scratch],
        scratch_alignment=raw.alignment,
        tasks=ANY_TASKS if raw.tasks is None else slots[raw.tasks],
        requires=tuple(slots[slot] for slot in raw.requires),
        device=raw.device,
        sites=debug.sites[number],
        work=_work(debug.work[number], names),
        text=debug.texts[number],
    )


def _formulas(code: Sequence[Instruction], names: Sequence[str]) -> list[Dim]:
    slots: list[Dim] = []
    decode(code, slots, lambda instruction: Dim.symbol(names[instruction[1]]))
    return slots


def _work(raw: RawWork | None, names: Sequence[str]) -> Work | None:
    if raw is None:
        return None
    slots = _formulas(raw.code, names)
    return Work(slots[raw.flops], slots[raw.bytes])


Leaf = Callable[[int, int, int], bool]


def decode_code(
    cursor: Cursor, first: int, is_leaf: Leaf, messages: int = 0, hidden: Container[int] = ()
) -> tuple[Instruction, ...]:
    """`first`: the slot that the first instruction defines; `hidden`: those of loops that are closed."""
    code: list[Instruction] = []
    for number in range(cursor.count(12)):
        op, a, b = cursor.words(3)
        slot = first + number
        if op == Op.CONST:
            sound = True
        elif Op.ADD <= op <= Op.MAX:
            sound = a < slot and b < slot and a not in hidden and b not in hidden
        elif op == Op.CHECK:
            sound = a < slot and b < messages and a not in hidden
        elif op == Op.EXPECT:
            sound = first <= a < slot and b < slot and b not in hidden and code[a - first][0] == Op.DIM
        else:
            sound = is_leaf(op, a, b)
        if not sound:
            raise cursor.damaged(f"instruction {op} {a} {b} in slot {slot}")
        code.append((op, a, b))
    return tuple(code)
