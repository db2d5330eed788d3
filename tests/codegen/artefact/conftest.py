"""An artefact with everything that the format can hold in it, made by hand; its code is never run."""

from dataclasses import replace
from pathlib import Path

import pytest

from headrace.codegen.artefact.model import (
    Artefact,
    Base,
    Buffer,
    Check,
    Constant,
    Copy,
    Kernel,
    KernelBuffer,
    Launch,
    Port,
    Program,
    Read,
    Segment,
    Signature,
    Site,
    Variant,
    Work,
)
from headrace.codegen.artefact.writer import write
from headrace.ir.dims import Dim, as_dim, ceildiv, dim_max, dim_min
from headrace.ir.types import F32, I64, U8


def _dims(*values: int | str | Dim) -> tuple[Dim, ...]:
    return tuple(as_dim(v) for v in values)


def _program() -> Program:
    first = Segment(
        checks=(
            Check(as_dim("seq - 1"), "node 'Slice_0': seq is 0"),
            Check(as_dim("1 - rows mod 3"), "node 'Reshape_1': rows do not divide"),
        ),
        buffers=(
            Buffer(Base("input", 0), as_dim(0), as_dim("rows*seq*4")),
            Buffer(Base("constant", 1), as_dim(16), as_dim(48)),
            Buffer(Base("arena", 0), as_dim("(rows*seq*4 + 63) floordiv 64 * 64"), as_dim(8)),
        ),
        arena=ceildiv(as_dim("rows*seq*4"), 64) * 64 + 64,
        steps=(
            Launch(
                0, (0, 1, 2), _dims("rows", -5), as_dim("rows"), as_dim("max(1, seq)"), as_dim("seq - 16"), ("A", "B")
            ),
            Launch(0, (0, 1, 2), _dims("rows", 2**40), as_dim("rows"), when=as_dim("15 - seq"), nodes=("A", "B")),
        ),
        reads=(Read("kept", 2, as_dim(0), I64, as_dim(0), as_dim("rows*seq"), "node 'NonZero_4': count"),),
    )
    second = Segment(
        buffers=(
            Buffer(Base("output", 0), as_dim(0), as_dim("kept*4")),
            Buffer(Base("arena", 0), as_dim(0), as_dim("kept*4")),
        ),
        steps=(Copy(4, 3, nodes=("Identity_5",)),),
    )
    return Program((first, second))


@pytest.fixture
def artefact() -> Artefact:
    need = dim_min(as_dim("n*stride*4"), dim_max(as_dim("n"), as_dim(64)) * 4)
    kernel = Kernel(
        "gather",
        entry=16,
        buffers=(KernelBuffer(need, False), KernelBuffer(as_dim(48), False), KernelBuffer(as_dim(8), True)),
        scalars=("n", "stride"),
        scratch=as_dim("n floordiv 2 + 7"),
        scratch_alignment=256,
        sites=(Site("index is out of range", 1), Site("überlauf")),
        work=Work(as_dim("n*stride*2"), need + 48),
        text="kernel.func @gather(...) {\n}\n",
    )
    other = Kernel("unused", 0, (), text="")
    signature = Signature(
        (Port("x", F32, _dims("rows", "seq")), Port("mask", U8, _dims(3, "2*rows", "rows", "seq floordiv 2"))),
        (Port("y", F32, _dims("kept")), Port("scalar", F32, ())),
    )
    big = Variant("x86-64-v3", "x86-64", ("avx2", "fma"), _program(), (kernel, other), bytes(range(100)))
    small = replace(big, preset="x86-64", features=(), image=b"\xc3" * 17)
    arm = replace(big, preset="aarch64", machine="aarch64", features=("neon",), kernels=(kernel,), image=b"\xc3" * 40)
    constants = (
        Constant(5, lambda: b"first", "bias"),
        Constant(64, lambda: bytes(64), "w"),
        Constant(0, lambda: b"", "empty"),
    )
    metadata = (("source", "0123"), ("compiler", "headrace 0.1.0"), ("licence: x", "MIT\nmore"))
    return Artefact(signature, (small, arm, big), constants, metadata)


@pytest.fixture
def path(artefact: Artefact, tmp_path: Path) -> Path:
    write(artefact, tmp_path / "m.hrm")
    return tmp_path / "m.hrm"
