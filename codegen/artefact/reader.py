"""Read a `.hrm` file.  In: a path.  Out: `Contents`: the model back, and who owns each byte; or an `ArtefactError`.

For `inspect`, `verify` and tests; running is the C runtime's business.  The file is mapped, so that constants cost
nothing until they are asked for.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass

from headrace.codegen.artefact.cursor import Cursor
from headrace.codegen.artefact.decode import (
    StoredConstant,
    decode_constant_table,
    decode_debug,
    decode_kernels,
    decode_metadata,
    decode_signature,
    decode_variant,
    name_kernels,
)
from headrace.codegen.artefact.decode_program import ProgramDecoder
from headrace.codegen.artefact.layout import (
    ENTRY,
    FORMAT,
    HASHED_HEADER_BYTES,
    HEADER,
    MAGIC,
    NO_TARGET,
    SHARED_SECTIONS,
    VARIANT_SECTIONS,
    Section,
)
from headrace.codegen.artefact.model import Artefact, Constant, Device, Signature, Variant
from headrace.ir.errors import ArtefactError, DimError


@dataclass(frozen=True, slots=True)
class Region:
    """A run of bytes of the file and what it belongs to: `header`, `program of x86-64-v3`, `padding` ..."""

    offset: int
    size: int
    owner: str


@dataclass(frozen=True)
class Contents:
    """A file that was read: its model, the digests of its constants, and its bytes from first to last."""

    artefact: Artefact
    digests: tuple[str, ...]
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of the section table."""

    type: Section
    variant: int
    offset: int
    size: int
    digest: bytes


def read(path: str | os.PathLike[str], *, check_constants: bool = False) -> Contents:
    """Reads and checks a file; the constants' hashes only if asked, since that reads all of them."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data: bytes | mmap.mmap = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise ArtefactError(f"{name}: cannot be opened: {error.strerror}") from error
    return _Reader(name, memoryview(data)).read(check_constants)


class _Reader:
    def __init__(self, name: str, data: memoryview) -> None:
        self._name = name
        self._data = data
        self._sections: list[_Stored] = []
        self._regions: list[Region] = []
        self._format = FORMAT

    def read(self, check_constants: bool) -> Contents:
        self._read_header()
        constants_section = self._section(Section.CONSTANTS)
        table = decode_constant_table(self._cursor(Section.CONSTANT_TABLE), constants_section.size)
        if check_constants:
            self._check_constants(table, constants_section)
        constants = tuple(self._constant(row, constants_section.offset) for row in table)
        signature = decode_signature(self._cursor(Section.SIGNATURE))
        metadata = decode_metadata(self._cursor(Section.METADATA))
        count = (len(self._sections) - len(SHARED_SECTIONS)) // len(VARIANT_SECTIONS)
        variants = tuple(self._variant(number, signature, len(constants)) for number in range(count))
        artefact = Artefact(signature, variants, constants, metadata)
        digests = tuple(row.digest.hex() for row in table)
        return Contents(artefact, digests, self._named_regions([variant.preset for variant in variants]))

    # ---- the container ----

    def _read_header(self) -> None:
        name, data = self._name, self._data
        if len(data) < HEADER.size or bytes(data[: len(MAGIC)]) != MAGIC:
            raise ArtefactError(f"{name}: is no compiled model")
        _, version, count, size, zero, digest = HEADER.unpack_from(data)
        if not 1 <= version <= FORMAT:
            expected = f"this version of headrace reads formats 1 to {FORMAT}"
            raise ArtefactError(f"{name}: is of format {version}, {expected}")
        self._format = version
        if size != len(data):
            found = f"{len(data)} bytes, its header says {size}"
            raise ArtefactError(f"{name}: has {found}: the file is cut off or damaged")
        end = HEADER.size + ENTRY.size * count
        hashed = bytes(data[:HASHED_HEADER_BYTES]) + bytes(data[HEADER.size : end])
        if end > len(data) or hashlib.sha256(hashed).digest() != digest:
            raise ArtefactError(f"{name}: the header is damaged: its hash is not the one stated")
        inner = count - len(SHARED_SECTIONS)
        if zero or inner <= 0 or inner % len(VARIANT_SECTIONS):
            raise ArtefactError(f"{name}: the header is damaged: {count} sections")
        for number in range(count):
            end = self._read_entry(number, end)
        if end != len(data):
            raise ArtefactError(f"{name}: has bytes that belong to no section")

    def _read_entry(self, number: int, end: int) -> int:
        """Checks a row of the table against where the last section ended; returns where this one does."""
        row = ENTRY.unpack_from(self._data, HEADER.size + ENTRY.size * number)
        found_type, found_target, offset, size, alignment, zero, digest = row
        shared = len(SHARED_SECTIONS)
        if number < shared:
            type_, target, variant = SHARED_SECTIONS[number], NO_TARGET, 0
        else:
            type_ = VARIANT_SECTIONS[(number - shared) % len(VARIANT_SECTIONS)]
            target = variant = (number - shared) // len(VARIANT_SECTIONS)
        sound = (
            (found_type, found_target, zero) == (type_, target, 0)
            and alignment in (64, 128, 256, 512, 1024, 2048, 4096)
            and offset % alignment == 0
            and 0 <= offset - end < alignment
            and size <= len(self._data) - offset
            and not any(self._data[end:offset])
        )
        if not sound:
            raise ArtefactError(
                f"{self._name}: section {number} is not where format {self._format} has it, or the padding is not zero"
            )
        self._sections.append(_Stored(type_, variant, offset, size, digest))
        if type_ is not Section.CONSTANTS:
            self._check_hash(self._sections[-1])
        return self._sections[-1].offset + self._sections[-1].size

    def _check_hash(self, section: _Stored) -> None:
        if hashlib.sha256(self._bytes(section)).digest() != section.digest:
            raise ArtefactError(
                f"{self._name}: the {section.type.title} at offset {section.offset} has changed: "
                "its hash is not the one stated"
            )

    def _section(self, type_: Section, variant: int = 0) -> _Stored:
        return next(s for s in self._sections if (s.type, s.variant) == (type_, variant))

    def _bytes(self, section: _Stored) -> memoryview:
        return self._data[section.offset : section.offset + section.size]

    def _cursor(self, type_: Section, variant: int = 0) -> Cursor:
        section = self._section(type_, variant)
        return Cursor(self._bytes(section), f"{self._name}: the {type_.title}", section.offset)

    # ---- what is in it ----

    def _check_constants(self, table: tuple[StoredConstant, ...], section: _Stored) -> None:
        for number, row in enumerate(table):
            start = section.offset + row.offset
            if hashlib.sha256(self._data[start : start + row.size]).digest() != row.digest:
                raise ArtefactError(
                    f"{self._name}: constant {number} ({row.label}) has changed: its hash is not the one stated"
                )
        self._check_hash(section)

    def _constant(self, row: StoredConstant, origin: int) -> Constant:
        start = origin + row.offset
        return Constant(row.size, lambda: self._data[start : start + row.size], row.label)

    def _variant(self, number: int, signature: Signature, constants: int) -> Variant:
        head = decode_variant(self._cursor(Section.VARIANT, number), self._format)
        code = self._bytes(self._section(Section.CODE, number))
        image, *others = images = head.images(code, self._cursor(Section.VARIANT, number))
        raw = decode_kernels(self._cursor(Section.KERNELS, number), self._format, [len(i) for i in images])
        cursor = self._cursor(Section.PROGRAM, number)
        program = ProgramDecoder(cursor, self._format, signature, raw, constants)
        scalar_counts = [kernel.scalars for kernel in raw]
        names = self._cursor(Section.DEBUG, number)
        debug = decode_debug(names, self._format, scalar_counts, program.steps, program.reads)
        try:
            kernels = name_kernels(raw, debug)
            finished = program.finish(debug)
        except DimError as error:
            raise cursor.damaged(f"a formula cannot be: {error}") from None
        devices = tuple(Device(driver, i) for (driver, _), i in zip(head.devices, others, strict=True))
        return Variant(head.preset, head.machine, head.features, finished, kernels, image, head.driver, devices)

    # ---- whose byte is it ----

    def _named_regions(self, presets: list[str]) -> tuple[Region, ...]:
        table_end = HEADER.size + ENTRY.size * len(self._sections)
        regions = [Region(0, HEADER.size, "header"), Region(HEADER.size, table_end - HEADER.size, "section table")]
        end = table_end
        for section in self._sections:
            if section.offset > end:
                regions.append(Region(end, section.offset - end, "padding"))
            of = f" of {presets[section.variant]}" if section.type in VARIANT_SECTIONS else ""
            regions.append(Region(section.offset, section.size, section.type.title + of))
            end = section.offset + section.size
        return tuple(regions)
