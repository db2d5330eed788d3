"""Programs with loops in files: what is written is read back, and a forged loop is refused by both readers."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.codegen.artefact import writer
from headrace.codegen.artefact.model import (
    Artefact,
    Base,
    Buffer,
    Copy,
    Loop,
    Port,
    Program,
    Segment,
    Set,
    Signature,
    Variant,
)
from headrace.codegen.artefact.reader import read
from headrace.ir.dims import Dim, as_dim
from headrace.ir.errors import ArtefactError
from headrace.ir.types import F32
from headrace.runtime import python as hr

MACHINE = {"x86_64": "x86-64", "aarch64": "aarch64"}.get(platform.machine(), "x86-64")


def buffer(kind: str, index: int, offset: str, size: str) -> Buffer:
    return Buffer(Base(kind, index), as_dim(offset), as_dim(size))


def sets(**values: str) -> tuple[Set, ...]:
    return tuple(Set(name, as_dim(value)) for name, value in values.items())


def loop(segments: int, limit: str = "n", condition: str = "0") -> Segment:
    return Segment(loop=Loop(as_dim(limit), as_dim(condition), segments))


def artefact(*segments: Segment, states: int = 1) -> Artefact:
    """y[n] = x[n], element by element; no kernel, so that any machine may run it."""
    signature = Signature((Port("x", F32, (Dim.symbol("n"),)),), (Port("y", F32, (Dim.symbol("n"),)),))
    return Artefact(signature, (Variant("any", MACHINE, (), Program(segments, states), (), b"\xcc"),))


START = Segment(reads=sets(t="0"))
BODY = Segment(
    buffers=(buffer("input", 0, "4*t", "4"), buffer("state", 0, "4*t", "4"), buffer("arena", 2, "0", "4")),
    arena=as_dim(4),
    steps=(Copy(0, 2), Copy(2, 1)),
    reads=sets(t="t + 1"),
)
END = Segment(buffers=(buffer("state", 0, "0", "4*t"), buffer("output", 0, "0", "4*n")), steps=(Copy(3, 4),))
# The same with a loop in the loop: each element is copied t + 1 times.
NESTED = (
    START,
    loop(4),
    Segment(reads=sets(u="0")),
    loop(1, "t + 1"),
    replace(BODY, buffers=(*BODY.buffers[:2], buffer("arena", 4, "0", "4")), reads=sets(u="u + 1")),
    Segment(reads=sets(t="t + 1")),
    END,
)


@pytest.mark.parametrize("segments", [(START, loop(1), BODY, END), NESTED])
def test_what_is_written_is_read_back_and_runs(segments: tuple[Segment, ...], tmp_path: Path) -> None:
    made = artefact(*segments)
    writer.write(made, tmp_path / "m.hrm")
    assert read(tmp_path / "m.hrm").artefact.variants[0].program == made.variants[0].program
    session = hr.load(tmp_path / "m.hrm")
    for count in (3, 0, 17, 3):
        x = memoryview(bytearray(range(4 * count))).cast("f")
        assert bytes(session.run({"x": x})["y"]) == bytes(x)


FORGED: dict[str, tuple[str, tuple[Segment, ...]]] = {
    "a buffer of a closed body": (
        "uses buffer 1, which is of a loop that is closed",
        (START, loop(1), BODY, replace(END, steps=(Copy(1, 4),))),
    ),
    "an arena of a closed body": (
        "a buffer lies in arena 2, of a loop that is closed",
        (START, loop(1), BODY, replace(END, buffers=(buffer("arena", 2, "0", "4*t"), END.buffers[1]))),
    ),
    "no segment in the body": ("the body of its loop would end with segment 1", (START, loop(0), BODY, END)),
    "a body that ends with the program": ("the body of its loop would end with segment 3", (START, loop(2), BODY, END)),
    "a body that ends behind the one around it": (
        "the body of its loop would end with segment 5",
        (*NESTED[:3], loop(2, "t + 1"), *NESTED[4:]),
    ),
    "a loop at the start": (
        "what its loop starts with is not set before it",
        (loop(1), Segment(reads=sets(t="0")), Segment()),
    ),
    "buffers beside the loop": (
        "holds more than its loop",
        (START, replace(loop(1), buffers=BODY.buffers[:1]), BODY, END),
    ),
    "no state": ("a buffer lies in state 0, there are 0", (START, loop(1), BODY, END)),
    "a symbol that is set elsewhere": (
        "",
        (START, loop(2), Segment(reads=sets(t="t + 2")), replace(BODY, buffers=(*BODY.buffers[:2], buffer("arena", 3, "0", "4"))), END),
    ),
    "a symbol of another loop": ("", (*NESTED[:4], replace(NESTED[4], reads=sets(t="t + 1")), *NESTED[5:])),
    "too deep": (
        "the body of its loop would end with segment",
        (
            *(s for depth in range(65) for s in (Segment(reads=sets(**{f"t{depth}": "0"})), loop(2 * (65 - depth) - 1 + 64 - depth))),
            *(Segment(reads=sets(**{f"t{64 - depth}": "1"})) for depth in range(65)),
            Segment(),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_loop_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the writer where it can see it; by the reader for tools and the runtime's loader in any case."""
    message, segments = FORGED[name]
    forged = artefact(*segments, states=0 if name == "no state" else 1)
    if message:
        with pytest.raises(ArtefactError, match=message):
            writer.write(forged, tmp_path / "m.hrm")
    monkeypatch.setattr(writer, "check", _nothing)
    writer.write(forged, tmp_path / "m.hrm")
    with pytest.raises(ArtefactError, match="the program is damaged"):
        read(tmp_path / "m.hrm")
    with pytest.raises(hr.DamagedError, match="the program"):
        hr.load(tmp_path / "m.hrm")


def _nothing(_: Artefact) -> None:
    """In the place of the writer's check."""
