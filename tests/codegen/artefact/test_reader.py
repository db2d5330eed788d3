"""Writing and reading back, and files that are not what they should be."""

import hashlib
import random
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.codegen.artefact.layout import FORMAT
from headrace.codegen.artefact.model import Artefact
from headrace.codegen.artefact.reader import read
from headrace.codegen.artefact.writer import write
from headrace.ir.errors import ArtefactError


def _without_constants(artefact: Artefact) -> Artefact:
    return replace(artefact, constants=())


def test_reading_gives_back_what_was_written(artefact: Any, path: Any) -> None:
    found = read(path, check_constants=True).artefact
    assert [variant.preset for variant in found.variants] == ["x86-64-v3", "aarch64", "x86-64"]
    expected = replace(
        artefact,
        variants=tuple(sorted(artefact.variants, key=lambda v: -len(v.features))),
        metadata=tuple(sorted(artefact.metadata)),
    )
    assert _without_constants(found) == _without_constants(expected)
    assert [(c.size, bytes(c.produce()), c.label) for c in found.constants] == [
        (c.size, c.produce(), c.label) for c in artefact.constants
    ]


def test_writing_what_was_read_gives_the_same_bytes(path: Any) -> None:
    again = path.with_name("again.hrm")
    write(read(path).artefact, again)
    assert again.read_bytes() == path.read_bytes()


def test_every_byte_has_one_owner(path: Any) -> None:
    regions = read(path).regions
    end = 0
    for region in regions:
        assert region.offset == end
        end += region.size
    assert end == path.stat().st_size
    owners = {region.owner for region in regions}
    assert {
        "header",
        "section table",
        "padding",
        "constants",
        "signature",
        "code of aarch64",
        "debug of x86-64",
    } <= owners
    data = path.read_bytes()
    assert all(not any(data[r.offset : r.offset + r.size]) for r in regions if r.owner == "padding")


def test_digests_are_those_of_the_constants(artefact: Any, path: Any) -> None:
    assert read(path).digests == tuple(hashlib.sha256(c.produce()).hexdigest() for c in artefact.constants)


def test_a_file_cut_anywhere_is_refused(path: Any, tmp_path: Path) -> None:
    data = path.read_bytes()
    cut = tmp_path / "cut.hrm"
    for size in range(0, len(data), 3):
        cut.write_bytes(data[:size])
        with pytest.raises(ArtefactError, match=re.escape(str(cut))):
            read(cut)


def test_a_changed_byte_anywhere_is_found(path: Any, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    changed = tmp_path / "changed.hrm"
    for at in range(0, len(data), 3):
        data[at] ^= 0x10
        changed.write_bytes(data)
        with pytest.raises(ArtefactError):
            read(changed, check_constants=True)
        data[at] ^= 0x10


def test_damage_behind_right_hashes_gives_an_error_or_a_model(path: Any, tmp_path: Path) -> None:
    original = path.read_bytes()
    (count,) = struct.unpack_from("<I", original, 12)
    changed = tmp_path / "changed.hrm"
    draw = random.Random(3)
    refused = 0
    for _ in range(400):
        data = bytearray(original)
        at = draw.randrange(64, len(data) // 4) * 4
        word = draw.choice((0, 1, 2, 5, 64, 0xFFFFFFFF, 0x7FFFFFFF, draw.getrandbits(32)))
        data[at : at + 4] = word.to_bytes(4, "little")
        for entry in range(64, 64 + 64 * count, 64):
            offset, size = struct.unpack_from("<QQ", data, entry + 8)
            data[entry + 32 : entry + 64] = hashlib.sha256(data[offset : offset + size]).digest()
        data[32:64] = hashlib.sha256(data[:32] + data[64 : 64 + 64 * count]).digest()
        changed.write_bytes(data)
        try:
            read(changed)
        except ArtefactError:
            refused += 1
    assert 50 < refused < 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no compiled model"),
        (b"not a model at all" * 10, "is no compiled model"),
    ],
)
def test_other_files_are_refused(content: Any, message: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.hrm"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"{re.escape(str(path))}: {message}$"):
        read(path)


def test_another_format_is_named(path: Any) -> None:
    data = bytearray(path.read_bytes())
    data[8] = FORMAT + 1
    path.write_bytes(data)
    with pytest.raises(
        ArtefactError, match=f"is of format {FORMAT + 1}, this version of headrace reads formats 1 to {FORMAT}$"
    ):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"none\.hrm: cannot be opened: No such file or directory$"):
        read(tmp_path / "none.hrm")


def test_a_changed_constant_is_named(path: Any) -> None:
    region = next(r for r in read(path).regions if r.owner == "constants")
    data = bytearray(path.read_bytes())
    data[region.offset + 70] ^= 1
    path.write_bytes(data)
    read(path)
    with pytest.raises(ArtefactError, match=r"constant 1 \(w\) has changed: its hash is not the one stated$"):
        read(path, check_constants=True)
