"""The numbers of format 4, and how words and strings lie in a section.  docs/artefact.md draws the whole format.

ORDER: every list here agrees with docs/artefact.md and with the runtime's container.h, variant.h and headrace.h.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from headrace.codegen.artefact.model import BaseKind, Machine, ValueKind
from headrace.ir import types
from headrace.ir.types import BF16, BOOL, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64, DType

MAGIC = b"\x89HRM\r\n\x1a\n"
FORMAT = 4  # what is written; every one from 1 on is read
ALIGNMENT = 64
NO_TARGET = 0xFFFFFFFF
NO_SLOT = 0xFFFFFFFF

# Magic, format, sections, file bytes, zero, SHA-256 of bytes 0 to 31 and the table.
HEADER = struct.Struct("<8sIIQQ32s")
HASHED_HEADER_BYTES = 32
# Type, target, offset, bytes, alignment, zero, SHA-256.
ENTRY = struct.Struct("<IIQQII32s")

MAX_RANK = 64
MAX_BUFFERS = 128
MAX_SCALARS = 1024
MAX_SCRATCH_ALIGNMENT = 4096
MAX_LOOPS = 64  # one inside the other


class Section(IntEnum):
    """In the order in which they lie in the file: four for all targets, then five for each variant."""

    CONSTANTS = 1
    CONSTANT_TABLE = 2
    SIGNATURE = 3
    METADATA = 4
    VARIANT = 5
    PROGRAM = 6
    KERNELS = 7
    CODE = 8
    DEBUG = 9

    @property
    def title(self) -> str:
        return self.name.lower().replace("_", " ")


SHARED_SECTIONS = (Section.CONSTANTS, Section.CONSTANT_TABLE, Section.SIGNATURE, Section.METADATA)
VARIANT_SECTIONS = (Section.VARIANT, Section.PROGRAM, Section.KERNELS, Section.CODE, Section.DEBUG)


class StepOp(IntEnum):
    """Launches and copies are steps; the others end a segment.  Opcodes 6 to 63 are kept for sequences."""

    LAUNCH = 1
    COPY = 2
    READ = 3
    SET = 4
    LOOP = 5


KINDS: dict[ValueKind, int] = {"tensor": 1, "strings": 2, "sequence": 3, "optional": 4}
MACHINES: dict[Machine, int] = {"x86-64": 1, "aarch64": 2, "any": 3}
BASES: dict[BaseKind, int] = {"input": 1, "output": 2, "constant": 3, "arena": 4, "state": 5}

_NARROW = ("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0fnu", "f4e2m1fn", "i4", "u4", "i2", "u2")
_DTYPES = (F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, *(types.DTYPES[n] for n in _NARROW))
DTYPES: dict[str, int] = {dtype.name: number for number, dtype in enumerate(_DTYPES, 1)}
DTYPE_OF: dict[int, DType] = dict(enumerate(_DTYPES, 1))


def padding(offset: int, alignment: int = ALIGNMENT) -> int:
    """Bytes of zeros from `offset` to the next multiple of `alignment`."""
    return -offset % alignment


class Words:
    """A section being written: 32-bit words, 64-bit integers, strings."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def u32(self, *values: int) -> None:
        self._bytes += struct.pack(f"<{len(values)}I", *values)

    def i64(self, value: int) -> None:
        self._bytes += struct.pack("<q", value)

    def raw(self, data: bytes) -> None:
        """A multiple of four bytes."""
        assert len(data) % 4 == 0
        self._bytes += data

    def string(self, text: str) -> None:
        """Length, UTF-8 bytes, then one to four zeros: C reads it in place."""
        data = text.encode()
        self.u32(len(data))
        self._bytes += data + bytes(4 - len(data) % 4)

    def data(self) -> bytes:
        return bytes(self._bytes)
