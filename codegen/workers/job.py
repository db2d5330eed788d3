"""What goes to a worker and what comes back, and how both travel: one JSON line, then as many bytes as it says."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from headrace.ir.errors import CodegenError

# By these words LLVM says, on stderr, that it ignores a processor or feature that it was asked for.
IGNORED = "is not a recognized"


@dataclass(frozen=True, slots=True)
class Job:
    """LLVM IR text to make an object of.  `name` stands in errors; `triple` has four parts."""

    name: str
    text: str
    triple: str
    cpu: str
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises CodegenError for what LLVM would take and then misunderstand."""
        if self.triple.count("-") != 3:
            # LLVM loses the environment of a shorter triple, and with it the calling convention of floats.
            raise CodegenError(f"{self.name}: triple {self.triple!r}: expected arch-vendor-system-environment")
        for feature in self.features:
            if feature[:1] not in ("+", "-"):
                raise CodegenError(f"{self.name}: feature {feature!r}: expected '+' or '-' before its name")

    def header(self) -> dict[str, Any]:
        """All but the text."""
        found = asdict(self)
        del found["text"]
        return found


@dataclass(frozen=True, slots=True)
class Host:
    """This machine, as LLVM sees it; features that it has, sorted."""

    triple: str
    cpu: str
    features: tuple[str, ...]


def send(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Writes one message.  Raises OSError if nobody reads."""
    line = json.dumps({**header, "bytes": len(payload)}).encode()
    stream.write(line + b"\n" + payload)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Reads one message; None at the end of the stream, also in the middle of a message."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header: dict[str, Any] = json.loads(line)
    payload = stream.read(header["bytes"])
    return (header, payload) if len(payload) == header["bytes"] else None
