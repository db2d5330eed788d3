"""Resolve one relocation.  In: the image bytes, the place to patch, the address it speaks of.  Out: patched bytes.

One table a machine says what is known: a relocation is either a `Patch`, which depends only on distances (or, on
aarch64, on addresses below the page), so that the image runs wherever it is mapped, or a `Refusal` with its way
out.  Types that LLVM does not emit for `pic` and `small` code are in neither and are refused as unknown.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from headrace.codegen.image.elf import EM_AARCH64, EM_X86_64

PAGE = 4096


class RelocationError(ValueError):
    """Why a relocation cannot be resolved; the caller adds the object, the section and the symbol."""


@dataclass(frozen=True)
class Patch:
    """`apply(image, place, target)` patches the bytes at `place` so that they speak of `target`."""

    name: str
    apply: Callable[[bytearray, int, int], None]


@dataclass(frozen=True)
class Refusal:
    name: str
    why: str


def relocate(machine: int, type_: int, image: bytearray, place: int, target: int) -> None:
    """Patch `image` at `place`; raises `RelocationError` where the type or the distance does not allow it."""
    rule = _RULES[machine].get(type_)
    if rule is None:
        raise RelocationError(f"unknown relocation type {type_}")
    if isinstance(rule, Refusal):
        raise RelocationError(f"{rule.name} {rule.why}")
    try:
        rule.apply(image, place, target)
    except (RelocationError, struct.error) as error:
        raise RelocationError(f"{rule.name}: {error}") from None


def _distance(value: int, bits: int) -> int:
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise RelocationError(f"distance {value} is out of range of {bits} signed bits; split the image")
    return value


def _relative32(image: bytearray, place: int, target: int) -> None:
    struct.pack_into("<i", image, place, _distance(target - place, 32))


def _relative64(image: bytearray, place: int, target: int) -> None:
    struct.pack_into("<q", image, place, target - place)


def _set_field(image: bytearray, place: int, mask: int, field: int) -> None:
    """Replace the bits of one aarch64 instruction that `mask` names."""
    (word,) = struct.unpack_from("<I", image, place)
    struct.pack_into("<I", image, place, word & ~mask | field)


def _branch26(image: bytearray, place: int, target: int) -> None:
    distance = _distance(target - place, 28)
    if distance % 4:
        raise RelocationError(f"branch over {distance} bytes is no multiple of 4")
    _set_field(image, place, 0x03FFFFFF, distance >> 2 & 0x03FFFFFF)


def _page21(image: bytearray, place: int, target: int) -> None:
    pages = _distance(target // PAGE - place // PAGE, 21)
    _set_field(image, place, 0x60FFFFE0, (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)


def _low12(size: int) -> Callable[[bytearray, int, int], None]:
    """The offset in the page, counted in units of `size` bytes as loads and stores of that size do."""

    def apply(image: bytearray, place: int, target: int) -> None:
        low = target % PAGE
        if low % size:
            raise RelocationError(f"target at byte {target} is not aligned to {size} bytes")
        _set_field(image, place, 0xFFF << 10, low // size << 10)

    return apply


_NO_ADDRESS = "is an absolute address, which the image cannot hold; use direct calls, or a table of offsets"
_NO_GOT = "goes through the global offset table, which the image has not; make the symbol internal, private or hidden"

_RULES: dict[int, dict[int, Patch | Refusal]] = {
    EM_X86_64: {
        2: Patch("R_X86_64_PC32", _relative32),
        4: Patch("R_X86_64_PLT32", _relative32),
        24: Patch("R_X86_64_PC64", _relative64),
        1: Refusal("R_X86_64_64", _NO_ADDRESS),
        10: Refusal("R_X86_64_32", _NO_ADDRESS),
        11: Refusal("R_X86_64_32S", _NO_ADDRESS),
        3: Refusal("R_X86_64_GOT32", _NO_GOT),
        9: Refusal("R_X86_64_GOTPCREL", _NO_GOT),
        25: Refusal("R_X86_64_GOTOFF64", _NO_GOT),
        26: Refusal("R_X86_64_GOTPC32", _NO_GOT),
        41: Refusal("R_X86_64_GOTPCRELX", _NO_GOT),
        42: Refusal("R_X86_64_REX_GOTPCRELX", _NO_GOT),
    },
    EM_AARCH64: {
        260: Patch("R_AARCH64_PREL64", _relative64),
        261: Patch("R_AARCH64_PREL32", _relative32),
        275: Patch("R_AARCH64_ADR_PREL_PG_HI21", _page21),
        277: Patch("R_AARCH64_ADD_ABS_LO12_NC", _low12(1)),
        278: Patch("R_AARCH64_LDST8_ABS_LO12_NC", _low12(1)),
        284: Patch("R_AARCH64_LDST16_ABS_LO12_NC", _low12(2)),
        285: Patch("R_AARCH64_LDST32_ABS_LO12_NC", _low12(4)),
        286: Patch("R_AARCH64_LDST64_ABS_LO12_NC", _low12(8)),
        299: Patch("R_AARCH64_LDST128_ABS_LO12_NC", _low12(16)),
        282: Patch("R_AARCH64_JUMP26", _branch26),
        283: Patch("R_AARCH64_CALL26", _branch26),
        257: Refusal("R_AARCH64_ABS64", _NO_ADDRESS),
        258: Refusal("R_AARCH64_ABS32", _NO_ADDRESS),
        309: Refusal("R_AARCH64_GOT_LD_PREL19", _NO_GOT),
        311: Refusal("R_AARCH64_ADR_GOT_PAGE", _NO_GOT),
        312: Refusal("R_AARCH64_LD64_GOT_LO12_NC", _NO_GOT),
    },
}
