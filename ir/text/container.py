"""The .constants file: arrays beside a .hir text, to be mapped into memory.

In: constants of a store.  Out: a file of equal bytes for equal constants, and back.

    offset  bytes  what
    0       8      "hrconst1"
    8       8      length of the index in bytes, little-endian
    16      ...    index, UTF-8: one line `<digest> <offset> <dtype> <dim> <dim> ...` for each array, by digest
    ...     ...    arrays, row-major and little-endian, each from an offset that is a multiple of 64; zeros between

The digest is that of `headrace.ir.constants.digest_of`; reading checks it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headrace.ir.constants import Array, ConstantRef, ConstantStore
from headrace.ir.errors import IRError
from headrace.ir.types import DTYPES

MAGIC = b"hrconst1"
ALIGNMENT = 64


def write_container(file: BinaryIO, refs: Iterable[ConstantRef], store: ConstantStore) -> None:
    """Writes the arrays behind `refs`.  Raises IRError if the store lacks one."""
    ordered = sorted({ref.digest: ref for ref in refs}.values(), key=lambda ref: ref.digest)
    index, offsets = _index(ordered)
    file.write(MAGIC + len(index).to_bytes(8, "little") + index)
    at = len(MAGIC) + 8 + len(index)
    for ref, offset in zip(ordered, offsets, strict=True):
        file.write(bytes(offset - at))
        content = np.ascontiguousarray(store.array(ref)).reshape(-1).view(np.uint8)
        file.write(content.data)
        at = offset + content.size


def _index(refs: list[ConstantRef]) -> tuple[bytes, list[int]]:
    """The index and the arrays' offsets, which depend on the length of the index: tried until they agree."""
    guess = 0
    while True:
        at, offsets, lines = len(MAGIC) + 8 + guess, [], []
        for ref in refs:
            at = -(-at // ALIGNMENT) * ALIGNMENT
            offsets.append(at)
            lines.append(" ".join([ref.digest, str(at), ref.dtype.name, *map(str, ref.shape)]) + "\n")
            at += _bytes(ref)
        index = "".join(lines).encode()
        if len(index) <= guess:
            return index.ljust(guess, b"\n"), offsets
        guess = len(index)


def _bytes(ref: ConstantRef) -> int:
    return int(np.prod(ref.shape, dtype=np.int64)) * ref.dtype.bytes


def read_container(path: Path) -> ConstantStore:
    """A store over the mapped file.  Raises IRError if the file is damaged."""
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + 8)
        if len(head) < len(MAGIC) + 8 or not head.startswith(MAGIC):
            raise IRError(f"{path}: starts with {head[:8]!r}, expected {MAGIC!r}")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = len(head)
    index = mapped[start : start + int.from_bytes(head[len(MAGIC) :], "little")]
    store = ConstantStore()
    for number, line in enumerate(index.decode(errors="replace").split("\n")):
        if line:
            digest, array = _array(mapped, line, f"{path}: index line {number + 1}")
            if store.add(array).digest != digest:
                raise IRError(f"{path}: constant #{digest[:16]} has other bytes than its digest says")
    return store


def _array(mapped: mmap.mmap, line: str, where: str) -> tuple[str, Array]:
    words = line.split(" ")
    if len(words) < 3 or words[2] not in DTYPES or not all(w.isdecimal() for w in (words[1], *words[3:])):
        raise IRError(f"{where}: found {line!r}, expected digest, offset, element type and dims")
    ref = ConstantRef(words[0], DTYPES[words[2]], tuple(int(w) for w in words[3:]))
    offset = int(words[1])
    if offset + _bytes(ref) > len(mapped):
        raise IRError(f"{where}: array ends at byte {offset + _bytes(ref)}, but the file has {len(mapped)}")
    count = _bytes(ref) // ref.dtype.bytes
    return ref.digest, np.frombuffer(mapped, ref.dtype.numpy, count, offset).reshape(ref.shape)
