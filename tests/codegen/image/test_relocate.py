"""Relocations one by one: the bits patched, and the distances that are too far."""

import struct

import pytest

from headrace.codegen.image.elf import EM_AARCH64, EM_X86_64
from headrace.codegen.image.relocate import RelocationError, relocate


def word_after(machine: int, type_: int, target: int, before: int = 0, place: int = 0) -> int:
    image = bytearray(place) + bytearray(struct.pack("<I", before))
    relocate(machine, type_, image, place, target)
    return int(struct.unpack_from("<I", image, place)[0])


@pytest.mark.parametrize(
    ("type_", "before", "place", "target", "after"),
    [
        (283, 0x94000000, 8, 0x108, 0x94000040),  # bl forward
        (283, 0x94000000, 8, 0, 0x97FFFFFE),  # bl backward
        (282, 0x14000000, 0, 4, 0x14000001),  # b
        (275, 0x90000000, 8, 0x3010, 0xF0000000),  # adrp x0, 3 pages on
        (275, 0x90000000, 8, 0x4010, 0x90000020),  # adrp x0, 4 pages on
        (277, 0x91000000, 8, 0x3010, 0x91004000),  # add x0, x0, #0x10
        (285, 0xBD400000, 8, 0x3010, 0xBD401000),  # ldr s0, [x0, #0x10]
        (299, 0x3DC00000, 8, 0x3010, 0x3DC00400),  # ldr q0, [x0, #0x10]
    ],
)
def test_aarch64_fields(type_: int, before: int, place: int, target: int, after: int) -> None:
    assert word_after(EM_AARCH64, type_, target, before, place) == after


def test_x86_64_distance() -> None:
    assert word_after(EM_X86_64, 4, 0, place=16) == 0xFFFFFFF0


@pytest.mark.parametrize(
    ("machine", "type_", "target", "message"),
    [
        (EM_X86_64, 2, 1 << 31, "R_X86_64_PC32: distance 2147483648 is out of range of 32 signed bits; split"),
        (EM_AARCH64, 283, 1 << 27, "R_AARCH64_CALL26: distance 134217728 is out of range of 28 signed bits"),
        (EM_AARCH64, 275, 1 << 32, "R_AARCH64_ADR_PREL_PG_HI21: distance 1048576 is out of range of 21 signed bits"),
        (EM_AARCH64, 283, 6, "R_AARCH64_CALL26: branch over 6 bytes is no multiple of 4"),
        (EM_AARCH64, 286, 4, "R_AARCH64_LDST64_ABS_LO12_NC: target at byte 4 is not aligned to 8 bytes"),
        (EM_X86_64, 11, 0, "R_X86_64_32S is an absolute address, which the image cannot hold; use direct calls"),
        (EM_AARCH64, 257, 0, "R_AARCH64_ABS64 is an absolute address"),
        (EM_X86_64, 99, 0, "unknown relocation type 99"),
    ],
)
def test_refuses(machine: int, type_: int, target: int, message: str) -> None:
    with pytest.raises(RelocationError, match=f"^{message}"):
        word_after(machine, type_, target)


@pytest.mark.parametrize(("target", "reaches"), [((1 << 27) - 4, True), (1 << 27, False)])
def test_branch_limit_is_exact(target: int, reaches: bool) -> None:
    if reaches:
        assert word_after(EM_AARCH64, 283, target, 0x94000000) == 0x95FFFFFF
    else:
        with pytest.raises(RelocationError):
            word_after(EM_AARCH64, 283, target, 0x94000000)
