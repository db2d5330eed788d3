"""What the writer writes, refuses, and leaves behind when it fails."""

import os
import re
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.codegen.artefact.features import FEATURES
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
    Segment,
)
from headrace.codegen.artefact.reader import read
from headrace.codegen.artefact.writer import write
from headrace.ir.dims import as_dim
from headrace.ir.errors import ArtefactError
from headrace.ir.types import F32


def test_same_artefact_same_bytes(artefact: Any, tmp_path: Path) -> None:
    turned = replace(artefact, variants=artefact.variants[::-1], metadata=artefact.metadata[::-1])
    write(artefact, tmp_path / "a.hrm")
    write(turned, tmp_path / "b.hrm")
    assert (tmp_path / "a.hrm").read_bytes() == (tmp_path / "b.hrm").read_bytes()


def test_size_is_returned(artefact: Any, tmp_path: Path) -> None:
    assert write(artefact, tmp_path / "m.hrm") == (tmp_path / "m.hrm").stat().st_size


def test_equal_constants_are_stored_once_and_produced_one_at_a_time(artefact: Any, tmp_path: Path) -> None:
    alive = 0
    most = 0

    class Counted(bytearray):
        def __init__(self, data: bytes) -> None:
            nonlocal alive, most
            super().__init__(data)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    same = tuple(Constant(100, lambda: Counted(b"7" * 100), f"w{i}") for i in range(3))
    more = tuple(Constant(64, lambda i=i: Counted(bytes([i]) * 64), f"v{i}") for i in range(5))
    write(replace(artefact, constants=(*same, *more)), tmp_path / "m.hrm")
    found = read(tmp_path / "m.hrm", check_constants=True).artefact
    assert [c.label for c in found.constants] == ["w0", "v0", "v1", "v2", "v3", "v4"]
    # The program's constant 1 was w1, which now lies where w0 does.
    assert found.variants[0].program.buffers[1].base == Base("constant", 0)
    assert most <= 2  # the last one is dropped when the next is there


def test_a_constant_of_another_size_is_refused(artefact: Any, tmp_path: Path) -> None:
    wrong = Constant(8, lambda: b"seven b", "conv1.weight")
    with pytest.raises(ArtefactError, match=r"^constant 'conv1.weight': has 7 bytes, expected 8$"):
        write(replace(artefact, constants=(*artefact.constants, wrong)), tmp_path / "m.hrm")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_constant_leaves_the_old_file(artefact: Any, tmp_path: Path) -> None:
    def fail() -> bytes:
        raise KeyboardInterrupt

    path = tmp_path / "m.hrm"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write(replace(artefact, constants=(*artefact.constants, Constant(1, fail))), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(artefact: Any, tmp_path: Path) -> None:
    path = tmp_path / "none" / "m.hrm"
    with pytest.raises(ArtefactError, match=rf"^{re.escape(str(path))}: cannot be written: no such file or directory$"):
        write(artefact, path)


def test_a_folder_is_no_file(artefact: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"cannot be written: it is there and is no file$"):
        write(artefact, tmp_path)
    assert os.path.exists("/dev/full")
    with pytest.raises(ArtefactError, match=r"^/dev/full: cannot be written: it is there and is no file$"):
        write(artefact, "/dev/full")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(artefact: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArtefactError, match=r"cannot be written: Permission denied$"):
        write(artefact, tmp_path / "m.hrm")


def test_no_room_leaves_nothing(artefact: Any, tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: the same failing write, with another reason."""
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(ArtefactError, match=r"m\.hrm: cannot be written: file too large$"):
            write(artefact, tmp_path / "m.hrm")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_ordinary_permissions(artefact: Any, path: Any) -> None:
    other = path.with_name("other")
    other.write_text("")
    assert path.stat().st_mode == other.stat().st_mode


# ---- what is refused -------------------------------------------------------------------------------------------------


def _with_segment(artefact: Artefact, **changes: object) -> Artefact:
    variant = artefact.variants[0]
    first, *rest = variant.program.segments
    program = replace(variant.program, segments=(replace(first, **changes), *rest))
    return replace(artefact, variants=(replace(variant, program=program),))


def _with_kernel(artefact: Artefact, **changes: object) -> Artefact:
    variant = artefact.variants[0]
    kernels = (replace(variant.kernels[0], **changes), *variant.kernels[1:])
    return replace(artefact, variants=(replace(variant, kernels=kernels),))


def _with_variant(artefact: Artefact, **changes: object) -> Artefact:
    return replace(artefact, variants=(replace(artefact.variants[0], **changes),))


ONE = as_dim(1)
REFUSALS = {
    "x86-64: the runtime does not know the feature 'axv2'; did you mean 'avx2'?": lambda a: _with_variant(
        a, features=("axv2",)
    ),
    "x86-64: needs 'npu:fast', but runs on no device of the driver 'npu'": lambda a: _with_variant(
        a, features=("npu:fast",)
    ),
    "x86-64: unknown machine 'aarch'; did you mean 'aarch64'?": lambda a: _with_variant(a, machine="aarch"),
    "x86-64: the program has no segment": lambda a: _with_variant(
        a, program=replace(a.variants[0].program, segments=())
    ),
    "artefact: has no variant": lambda a: replace(a, variants=()),
    "targets: 'x86-64' is there 2 times": lambda a: replace(a, variants=(a.variants[0], a.variants[0])),
    "metadata: 'k' is there 2 times": lambda a: replace(a, metadata=(("k", "1"), ("k", "2"))),
    "input 'x': a dim is 9223372036854775808, expected a number from 0 that fits 64 bits": lambda a: replace(
        a, signature=replace(a.signature, inputs=(replace(a.signature.inputs[0], dims=(as_dim(2**63),)),))
    ),
    "inputs: 'x' is there 2 times": lambda a: replace(
        a, signature=replace(a.signature, inputs=(a.signature.inputs[0], a.signature.inputs[0]))
    ),
    "x86-64: kernel 'gather': entry 17 is outside the image of 17 bytes": lambda a: _with_kernel(a, entry=17),
    "x86-64: kernel 'gather': has 129 buffers, at most 128 are possible": lambda a: _with_kernel(
        a, buffers=(KernelBuffer(ONE, False),) * 129
    ),
    "x86-64: kernel 'gather': scratch alignment is 48, expected a power of two up to 4096": lambda a: _with_kernel(
        a, scratch_alignment=48
    ),
    "x86-64: kernel 'gather': symbol 'm' is bound by no input dim and no read": lambda a: _with_kernel(
        a, scratch=as_dim("m")
    ),
    "x86-64: symbol 'heads' is bound by no input dim and no read": lambda a: _with_segment(a, arena=as_dim("heads")),
    "x86-64: symbol 'kept' is bound by no input dim and no read": lambda a: _with_segment(a, arena=as_dim("kept")),
    "x86-64: 9223372036854775808 does not fit 64 bits": lambda a: _with_segment(a, arena=as_dim(2**63)),
    "x86-64: segment 0: runs on device 1, there are 1": lambda a: _with_segment(a, device=1),
    "x86-64: segment 0: a buffer lies in input 2, there are 2": lambda a: _with_segment(
        a, buffers=(Buffer(Base("input", 2), ONE, ONE),)
    ),
    "x86-64: segment 0: a buffer lies in arena 1, there are 1": lambda a: _with_segment(
        a, buffers=(Buffer(Base("arena", 1), ONE, ONE),)
    ),
    "x86-64: segment 0: launch of 'gather': passes 2 buffers, expected 3": lambda a: _with_segment(
        a, steps=(Launch(0, (0, 1), (ONE, ONE), ONE),)
    ),
    "x86-64: segment 0: launch of 'gather': passes 1 scalars, expected 2": lambda a: _with_segment(
        a, steps=(Launch(0, (0, 1, 2), (ONE,), ONE),)
    ),
    "x86-64: segment 0: launches kernel 2, there are 2": lambda a: _with_segment(a, steps=(Launch(2, (), (), ONE),)),
    "x86-64: segment 0: launch of 'gather': writes to buffer 1, which lies in constant 1": lambda a: _with_segment(
        a, steps=(Launch(0, (0, 1, 1), (ONE, ONE), ONE),)
    ),
    "x86-64: segment 0: copy: writes to buffer 0, which lies in input 0": lambda a: _with_segment(
        a, steps=(Copy(2, 0),)
    ),
    "x86-64: segment 0: copy: uses buffer 3, there are 3 so far": lambda a: _with_segment(a, steps=(Copy(3, 2),)),
    "x86-64: segment 0: read of 'kept': dtype is f32, expected an integer type or bool": lambda a: _with_segment(
        a, reads=(replace(a.variants[0].program.segments[0].reads[0], dtype=F32),)
    ),
    "x86-64: symbol 'rows' is bound twice": lambda a: _with_segment(
        a, reads=(replace(a.variants[0].program.segments[0].reads[0], symbol="rows"),)
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_an_artefact_that_could_not_run_is_refused(message: Any, artefact: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError) as caught:
        write(REFUSALS[message](artefact), tmp_path / "m.hrm")
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_equal_formulas_share_a_slot(artefact: Any, tmp_path: Path) -> None:
    """Fifty checks of the same formula take hardly more room than one."""

    def size(checks: int) -> int:
        listed = tuple(Check(as_dim("rows*seq*seq*7 - 3"), "m") for _ in range(checks))
        return write(_with_segment(artefact, checks=listed), tmp_path / "m.hrm")

    assert size(50) == size(1)


def test_defaults_of_the_model() -> None:
    assert (Kernel("k", 0, ()).scratch, Segment().arena, Launch(0, (), (), ONE).grain) == (0, 0, 1)


def test_features_are_those_of_the_runtime(request: pytest.FixtureRequest) -> None:
    """ORDER: Python, C and the page on the format name the same features in the same order."""
    source = (request.config.rootpath / "runtime/src/machine.c").read_text()
    tables = source.split("} features[] = {")[1:]
    page = (request.config.rootpath / "docs/artefact.md").read_text()
    for table, machine in zip(tables, ("x86-64", "aarch64"), strict=True):
        listed = re.search(rf"^- {machine}: (.*)[;.]$", page, re.MULTILINE)
        assert listed is not None
        assert tuple(listed[1].replace("`", "").split(", ")) == FEATURES[machine]
        names = re.findall(r'^\s*\{"([^"]+)"', table.split("};")[0], re.MULTILINE)
        assert tuple(names) == FEATURES[machine]
