"""Flatten objects into one image.  In: `Object`s of one machine.  Out: an `Image`: bytes with no relocation left.

    object a: .text .rodata.cst16        image: a.text b.text | a.rodata.cst16 b.rodata
    object b: .text .rodata         ->   entries: every global function, by name

All code comes first, then all constants; within each, objects in the order given and sections in the order of the
object.  Every object must be closed: it calls and reads only what it defines.  So an image has no imports, and
how functions were spread over objects cannot change what they do.  Refused, with the way out: undefined symbols,
writable memory, and every relocation that would need to know where the image is mapped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.codegen.image.elf import (
    EM_AARCH64,
    MACHINES,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    STB_LOCAL,
    STT_FUNC,
    Object,
    Relocation,
    Section,
    Symbol,
)
from headrace.codegen.image.relocate import PAGE, RelocationError, relocate
from headrace.ir.errors import LinkError

# Constants do not share a cache line with code: a line wanted by both caches is fetched twice.
_CONSTANTS_ALIGNMENT = 64
_SHT_NOTE = 7


@dataclass(frozen=True)
class Image:
    """Map `code` readable and executable at a multiple of `alignment` (at most a page), call base + entry."""

    code: bytes
    entries: dict[str, int]  # sorted by name
    alignment: int


Addresses = dict[tuple[int, int], int]  # (object, section) -> offset in the image


def flatten(objects: Sequence[Object]) -> Image:
    """One image of all `objects`, which must be of one machine and define no function twice."""
    for object_ in objects:
        _refuse_foreign(object_, objects[0])
        _refuse_writable(object_)
        _refuse_undefined(object_)
    addresses, size, alignment = _lay_out(objects)
    image = bytearray(size)
    for (i, j), address in addresses.items():
        data = objects[i].sections[j].data
        image[address : address + len(data)] = data
    for i, object_ in enumerate(objects):
        for relocation in object_.relocations:
            if (i, relocation.section) in addresses:
                _resolve(image, addresses, i, object_, relocation)
    return Image(bytes(image), _entries(objects, addresses), alignment)


def _is_kept(section: Section) -> bool:
    """Whether the running code needs the section: not debug data, notes, or tables for unwinding."""
    return bool(section.flags & SHF_ALLOC) and section.type != _SHT_NOTE and section.name != ".eh_frame"


def _refuse_foreign(object_: Object, first: Object) -> None:
    if object_.machine != first.machine:
        raise LinkError(
            f"{object_.name}: object is for {MACHINES[object_.machine]}, but {first.name} is for"
            f" {MACHINES[first.machine]}; an image is for one machine"
        )


def _refuse_writable(object_: Object) -> None:
    for section in object_.sections:
        # A section whose bytes are not in the file is zeroed memory, such as .bss.
        if _is_kept(section) and section.size and (section.flags & SHF_WRITE or not section.data):
            raise LinkError(
                f"{object_.name}: section {section.name!r} is writable ({section.size} bytes); an image is mapped"
                " read-only: make the global constant and free of addresses, or keep it in the scratch memory"
            )
        if section.alignment > PAGE:
            raise LinkError(
                f"{object_.name}: section {section.name!r} wants alignment {section.alignment}; an image has {PAGE}"
            )


def _refuse_undefined(object_: Object) -> None:
    names = sorted(s.name for s in object_.symbols if s.section is None and not s.special and s.name)
    if names:
        listed = ", ".join(repr(name) for name in names)
        raise LinkError(
            f"{object_.name}: undefined {'symbol' if len(names) == 1 else 'symbols'} {listed}; an image has no"
            " imports: emit the operation inline, or define the function in the same object"
        )


def _lay_out(objects: Sequence[Object]) -> tuple[Addresses, int, int]:
    """The offset of each kept section, the size of the image and its alignment."""
    kept = [(i, j, s) for i, o in enumerate(objects) for j, s in enumerate(o.sections) if _is_kept(s) and s.size]
    code = [row for row in kept if row[2].flags & SHF_EXECINSTR]
    constants = [row for row in kept if not row[2].flags & SHF_EXECINSTR]
    addresses: Addresses = {}
    end = 0
    for group, start_alignment in ((code, 1), (constants, _CONSTANTS_ALIGNMENT)):
        end = _round_up(end, start_alignment) if group else end
        for i, j, section in group:
            addresses[i, j] = _round_up(end, section.alignment)
            end = addresses[i, j] + section.size
    # ADRP speaks of pages, so aarch64 code moves by whole pages only.
    on_pages = any(o.machine == EM_AARCH64 for o in objects)
    alignment = PAGE if on_pages else max([_CONSTANTS_ALIGNMENT, *(s.alignment for _, _, s in kept)])
    return addresses, end, alignment


def _round_up(value: int, alignment: int) -> int:
    return (value + alignment - 1) // alignment * alignment


def _resolve(image: bytearray, addresses: Addresses, index: int, object_: Object, relocation: Relocation) -> None:
    symbol = relocation.symbol
    place = addresses[index, relocation.section] + relocation.offset
    try:
        target = _address(addresses, index, symbol) + relocation.addend
        relocate(object_.machine, relocation.type, image, place, target)
    except RelocationError as error:
        section = object_.sections[relocation.section].name
        shown = symbol.name or (object_.sections[symbol.section].name if symbol.section is not None else "")
        raise LinkError(
            f"{object_.name}: section {section!r} at byte {relocation.offset}, symbol {shown!r}: {error}"
        ) from None


def _address(addresses: Addresses, index: int, symbol: Symbol) -> int:
    if symbol.section is None:
        raise RelocationError("symbol is absolute or common, expected one inside a section; make it internal")
    if (index, symbol.section) not in addresses:
        raise RelocationError("symbol lies in a section that is not part of the image")
    return addresses[index, symbol.section] + symbol.value


def _entries(objects: Sequence[Object], addresses: Addresses) -> dict[str, int]:
    entries: dict[str, int] = {}
    owners: dict[str, str] = {}
    for i, object_ in enumerate(objects):
        for symbol in _global_functions(object_):
            if (i, symbol.section) not in addresses:
                raise LinkError(f"{object_.name}: function {symbol.name!r} has no code")
            if symbol.name in owners:
                raise LinkError(
                    f"{object_.name}: function {symbol.name!r} is also defined by {owners[symbol.name]};"
                    " rename one, or make it internal"
                )
            owners[symbol.name] = object_.name
            entries[symbol.name] = _address(addresses, i, symbol)
    return dict(sorted(entries.items()))


def _global_functions(object_: Object) -> Iterator[Symbol]:
    for symbol in object_.symbols:
        if symbol.type == STT_FUNC and symbol.binding != STB_LOCAL and symbol.section is not None:
            yield symbol
