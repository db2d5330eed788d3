"""Types of the C extension (src/python/face.c)."""

from os import PathLike
from typing import Any

version: str

class Error(Exception): ...

_Port = tuple[str, str, tuple[int | str, ...]]
_Result = tuple[bytearray, tuple[int, ...]] | None  # None where the caller gave memory; for all: where it always did
_Record = tuple[str, str, int, int, int, int, int, int, int, int]

class Session:
    def __new__(
        cls,
        path: str | PathLike[str],
        threads: int,
        record: bool,
        device: str | None,
        drivers: tuple[bytes | int, ...],
        /,
    ) -> Session: ...
    def describe(self) -> tuple[str, str, int, tuple[_Port, ...], tuple[_Port, ...]]: ...
    def run(self, inputs: tuple[Any, ...], outputs: tuple[Any, ...], /) -> tuple[_Result, ...] | None: ...
    def run_direct(self, inputs: Any, outputs: Any, /) -> Any: ...  # as `run`, or NotImplemented
    def memory_needed(self, shapes: tuple[tuple[int, ...], ...], /) -> int: ...
    def take_records(self) -> tuple[list[_Record], int]: ...
    def memory_taken(self) -> tuple[int, int, int]: ...
    def verify(self) -> None: ...
