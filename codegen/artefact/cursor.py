"""A section's bytes, read from front to back.  In: bytes.  Out: numbers, strings and counts, or an `ArtefactError`."""

from __future__ import annotations

import struct
from typing import TypeVar

from headrace.ir.errors import ArtefactError

T = TypeVar("T")


class Cursor:
    """Reads a section from front to back; `place` and `origin` say in errors where it stands in the file."""

    def __init__(self, data: memoryview, place: str, origin: int) -> None:
        self._data = data
        self._place = place
        self._origin = origin
        self._at = 0

    def damaged(self, why: str) -> ArtefactError:
        return ArtefactError(f"{self._place} is damaged at offset {self._origin + self._at}: {why}")

    def raw(self, count: int) -> memoryview:
        if count > len(self._data) - self._at:
            raise self.damaged("it ends too early")
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def u32(self) -> int:
        return int.from_bytes(self.raw(4), "little")

    def i64(self) -> int:
        return int.from_bytes(self.raw(8), "little", signed=True)

    def words(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.raw(4 * count))

    def string(self) -> str:
        length = self.u32()
        stored = bytes(self.raw((length // 4 + 1) * 4))
        if any(stored[length:]) or 0 in stored[:length]:
            raise self.damaged("a string is not ended by zeros")
        try:
            return stored[:length].decode()
        except UnicodeDecodeError:
            raise self.damaged("a string is no UTF-8") from None

    def count(self, record_bytes: int) -> int:
        found = self.u32()
        if found > (len(self._data) - self._at) // record_bytes:
            raise self.damaged(f"{found} records do not fit")
        return found

    def pick(self, table: dict[int, T], what: str) -> T:
        number = self.u32()
        if number not in table:
            raise self.damaged(f"there is no {what} {number}")
        return table[number]

    def below(self, limit: int, what: str) -> int:
        number = self.u32()
        if number >= limit:
            raise self.damaged(f"{what} {number} of {limit}")
        return number

    def end(self) -> None:
        if self._at != len(self._data):
            raise self.damaged("there is more than belongs to it")
