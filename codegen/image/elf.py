"""Read an ELF64 little-endian relocatable object.  In: bytes.  Out: sections, symbols and relocations, all checked.

A damaged file raises `LinkError`; nothing here indexes past the end or trusts a count.  Names follow the ELF
specification where a reader would look them up there (`SHF_ALLOC`, `STT_FUNC`).
"""

import struct
from dataclasses import dataclass

from headrace.ir.errors import LinkError

EM_X86_64 = 62
EM_AARCH64 = 183
MACHINES = {EM_X86_64: "x86_64", EM_AARCH64: "aarch64"}

SHF_WRITE = 1
SHF_ALLOC = 2
SHF_EXECINSTR = 4

STB_LOCAL = 0
STT_FUNC = 2

_ET_REL = 1
_SHT_SYMTAB = 2
_SHT_RELA = 4
_SHT_NOBITS = 8
_SHT_REL = 9
_SHN_UNDEF = 0
_SHN_LORESERVE = 0xFF00  # from here up a section index is no index: absolute, common, extended

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")


@dataclass(frozen=True)
class Section:
    name: str
    type: int
    flags: int
    alignment: int
    size: int
    data: bytes  # empty for a section that takes no room in the file, such as .bss
    link: int
    info: int


@dataclass(frozen=True)
class Symbol:
    """`section` is None where the symbol is undefined or, with `special` set, absolute or common."""

    name: str
    section: int | None
    special: bool
    value: int
    binding: int
    type: int


@dataclass(frozen=True)
class Relocation:
    section: int  # the section to patch
    offset: int
    type: int
    symbol: Symbol
    addend: int


@dataclass(frozen=True)
class Object:
    name: str  # what messages call it: the kernel or the file it was made from
    machine: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def read_object(name: str, data: bytes) -> Object:
    """The object in `data`; `name` stands first in every message about it."""
    try:
        machine, sections = _read_sections(name, data)
        symbols, relocations = _read_tables(name, sections)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise LinkError(f"{name}: damaged object: {error}") from None
    return Object(name, machine, tuple(sections), tuple(symbols), tuple(relocations))


def _read_sections(name: str, data: bytes) -> tuple[int, list[Section]]:
    ident, type_, machine, _, _, _, table, _, _, _, _, entry_size, count, names_index = _HEADER.unpack_from(data)
    if ident[:6] != b"\x7fELF\x02\x01" or type_ != _ET_REL:
        raise LinkError(f"{name}: not a 64-bit little-endian relocatable ELF object")
    if machine not in MACHINES:
        known = ", ".join(MACHINES.values())
        raise LinkError(f"{name}: object is for ELF machine {machine}; the linker knows {known}")
    if entry_size != _SECTION.size:
        raise LinkError(f"{name}: damaged object: section header of {entry_size} bytes, expected {_SECTION.size}")
    if (end := table + count * entry_size) > len(data):
        raise LinkError(f"{name}: damaged object: section table ends at byte {end} of {len(data)}")
    headers = [_SECTION.unpack_from(data, table + i * entry_size) for i in range(count)]
    bodies = [_body(name, data, header) for header in headers]
    sections = []
    for (name_at, kind, flags, _, _, size, link, info, alignment, _), body in zip(headers, bodies, strict=True):
        if alignment & (alignment - 1):
            raise LinkError(f"{name}: damaged object: alignment {alignment} is no power of two")
        text = _string(bodies[names_index], name_at)
        sections.append(Section(text, kind, flags, max(alignment, 1), size, body, link, info))
    return machine, sections


def _body(name: str, data: bytes, header: tuple[int, ...]) -> bytes:
    kind, offset, size = header[1], header[4], header[5]
    if kind == _SHT_NOBITS:
        return b""
    if offset + size > len(data):
        raise LinkError(f"{name}: damaged object: section ends at byte {offset + size} of {len(data)}")
    return data[offset : offset + size]


def _read_tables(name: str, sections: list[Section]) -> tuple[list[Symbol], list[Relocation]]:
    symbols: list[Symbol] = []
    for section in sections:
        if section.type == _SHT_SYMTAB:
            strings = sections[section.link].data
            symbols += [_symbol(strings, sections, row) for row in _SYMBOL.iter_unpack(section.data)]
    relocations: list[Relocation] = []
    for section in sections:
        if section.type == _SHT_REL:
            raise LinkError(f"{name}: section {section.name!r}: relocations without addends, expected RELA")
        if section.type != _SHT_RELA:
            continue
        size = sections[section.info].size
        for offset, info, addend in _RELA.iter_unpack(section.data):
            if offset >= size:
                raise LinkError(f"{name}: damaged object: relocation at byte {offset} of a section of {size} bytes")
            relocations.append(Relocation(section.info, offset, info & 0xFFFFFFFF, symbols[info >> 32], addend))
    return symbols, relocations


def _symbol(strings: bytes, sections: list[Section], row: tuple[int, ...]) -> Symbol:
    name_at, info, _, index, value, _ = row
    special = index >= _SHN_LORESERVE
    defined = index != _SHN_UNDEF and not special
    if defined and value > sections[index].size:
        raise IndexError(f"symbol at byte {value} of a section of {sections[index].size} bytes")
    return Symbol(_string(strings, name_at), index if defined else None, special, value, info >> 4, info & 15)


def _string(table: bytes, at: int) -> str:
    if at >= len(table) or (end := table.find(b"\0", at)) < 0:
        raise IndexError("name outside its string table")
    return table[at:end].decode()
