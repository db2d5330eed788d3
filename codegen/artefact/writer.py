"""Write a `.hrm` file.  In: an `Artefact` and a path.  Out: the file, complete or not there at all.

Constants come first in the file and are produced, hashed, written and dropped one at a time: the most memory needed
is that of the biggest.  Equal ones are written once.  Same artefact, same bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headrace.codegen.artefact.check import check
from headrace.codegen.artefact.encode import (
    encode_code,
    encode_debug,
    encode_kernels,
    encode_metadata,
    encode_program,
    encode_signature,
    encode_variant,
)
from headrace.codegen.artefact.layout import (
    ALIGNMENT,
    ENTRY,
    FORMAT,
    HASHED_HEADER_BYTES,
    HEADER,
    MAGIC,
    NO_TARGET,
    SHARED_SECTIONS,
    VARIANT_SECTIONS,
    Section,
    Words,
    padding,
)
from headrace.codegen.artefact.model import Artefact, Constant, Variant
from headrace.ir.errors import ArtefactError


def write(artefact: Artefact, path: str | os.PathLike[str]) -> int:
    """Writes the file and returns its size.  Raises ArtefactError; then nothing is left, and an old file stays."""
    check(artefact)
    target = Path(path)
    if target.exists() and not target.is_file():
        raise ArtefactError(f"{target}: cannot be written: it is there and is no file")
    beside: Path | None = None
    try:
        beside, descriptor = _create_beside(target)
        with os.fdopen(descriptor, "wb") as file:
            size = write_to(artefact, file)
        os.replace(beside, target)
        beside = None
        return size
    except OSError as error:
        raise ArtefactError(f"{target}: cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def _create_beside(target: Path) -> tuple[Path, int]:
    """A new file in the same folder, so that the rename at the end stays within one file system."""
    for number in itertools.count():
        path = target.with_name(f".{target.name[:200]}.{os.getpid()}.{number}")
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


def write_to(artefact: Artefact, file: BinaryIO) -> int:
    """Writes to an open, seekable file from its start; `artefact` has passed `check`."""
    variants = sorted(artefact.variants, key=_as_picked)
    output = _Output(file, len(SHARED_SECTIONS) + len(VARIANT_SECTIONS) * len(variants))
    blobs, table = output.constants(artefact.constants)
    output.section(Section.CONSTANT_TABLE, NO_TARGET, table)
    output.section(Section.SIGNATURE, NO_TARGET, encode_signature(artefact.signature))
    output.section(Section.METADATA, NO_TARGET, encode_metadata(artefact.metadata))
    for number, variant in enumerate(variants):
        output.section(Section.VARIANT, number, encode_variant(variant))
        output.section(Section.PROGRAM, number, encode_program(artefact, variant, blobs))
        output.section(Section.KERNELS, number, encode_kernels(variant))
        output.section(Section.CODE, number, encode_code(variant))
        output.section(Section.DEBUG, number, encode_debug(variant))
    output.header()
    return output.offset


def _as_picked(variant: Variant) -> tuple[bool, int, str]:
    """Those that need nothing but a CPU first, of these the most demanding: loaders take the first that runs."""
    return variant.machine == "any" or bool(variant.devices), -len(variant.features), variant.preset


@dataclass(frozen=True, slots=True)
class _Entry:
    type: Section
    target: int
    offset: int
    size: int
    digest: bytes

    def packed(self) -> bytes:
        return ENTRY.pack(self.type, self.target, self.offset, self.size, ALIGNMENT, 0, self.digest)


class _Output:
    """A file being written from front to back; the header's place is left free until the end."""

    def __init__(self, file: BinaryIO, sections: int) -> None:
        self._file = file
        self._sections = sections
        self._entries: list[_Entry] = []
        self.offset = 0
        self._write(bytes(HEADER.size + ENTRY.size * sections))

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.offset += len(data)

    def section(self, type_: Section, target: int, data: bytes) -> None:
        self._write(bytes(padding(self.offset)))
        self._entries.append(_Entry(type_, target, self.offset, len(data), hashlib.sha256(data).digest()))
        self._write(data)

    def constants(self, constants: Iterable[Constant]) -> tuple[list[int], bytes]:
        """Writes the section; returns the blob of each constant, and the bytes of the constant table."""
        self._write(bytes(padding(self.offset)))
        start, whole = self.offset, hashlib.sha256()
        blobs: list[int] = []
        known: dict[bytes, int] = {}
        rows = Words()
        for constant in constants:
            data = _produced(constant)
            digest = hashlib.sha256(data).digest()
            if digest not in known:
                known[digest] = len(known)
                gap = bytes(padding(self.offset))
                self._write(gap)
                whole.update(gap)
                rows.i64(self.offset - start)
                rows.i64(len(data))
                rows.raw(digest)
                rows.string(constant.label)
                self._write(data)
                whole.update(data)
            blobs.append(known[digest])
        self._entries.append(_Entry(Section.CONSTANTS, NO_TARGET, start, self.offset - start, whole.digest()))
        table = Words()
        table.u32(len(known))
        table.raw(rows.data())
        return blobs, table.data()

    def header(self) -> None:
        assert len(self._entries) == self._sections
        table = b"".join(entry.packed() for entry in self._entries)
        head = HEADER.pack(MAGIC, FORMAT, self._sections, self.offset, 0, bytes(32))[:HASHED_HEADER_BYTES]
        self._file.seek(0)
        self._file.write(head + hashlib.sha256(head + table).digest() + table)


def _produced(constant: Constant) -> memoryview:
    data = memoryview(constant.produce()).cast("B")
    if len(data) != constant.size:
        raise ArtefactError(f"constant {constant.label!r}: has {len(data)} bytes, expected {constant.size}")
    return data
