"""Modules in files, and their constants beside them."""

from pathlib import Path

import numpy as np
import pytest

from headrace.ir.core import walk
from headrace.ir.errors import IRError, OptionError, ParseError
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.module import Module
from headrace.ir.text import load_hir, parse_module, print_op, save_hir


def _module() -> Module:
    """A module with two constants that are too big for the text, and one that is not."""
    module = parse_module("graph.func @f() { graph.return }")
    block = module.function("f").block
    for number, shape in enumerate([(5, 7), (2,), (33,)]):
        array = (np.arange(np.prod(shape), dtype=np.float32) + number).reshape(shape)
        block.insert(number, Constant(module.constants.add(array)))
    return module


def test_save_and_load(tmp_path: Path) -> None:
    module, path = _module(), tmp_path / "m.hir"
    save_hir(module, path)
    again = load_hir(path)
    assert print_op(again) == print_op(module)
    for one, other in zip(walk(module, Constant), walk(again, Constant), strict=True):
        np.testing.assert_array_equal(module.constants.array(one.value), again.constants.array(other.value))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.hir", "m.hir.constants"]


def test_same_module_same_bytes(tmp_path: Path) -> None:
    save_hir(_module(), tmp_path / "a.hir")
    save_hir(load_hir(tmp_path / "a.hir"), tmp_path / "b.hir")
    for ending in ("hir", "hir.constants"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_arrays_lie_at_multiples_of_64(tmp_path: Path) -> None:
    save_hir(_module(), tmp_path / "m.hir")
    data = (tmp_path / "m.hir.constants").read_bytes()
    assert data[:8] == b"hrconst1"
    index = data[16 : 16 + int.from_bytes(data[8:16], "little")].decode().split("\n")
    offsets = [int(line.split()[1]) for line in index if line]
    assert len(offsets) == 2
    assert all(o % 64 == 0 for o in offsets)


def test_without_the_constants_file_only_arrays_are_missing(tmp_path: Path) -> None:
    module, path = _module(), tmp_path / "m.hir"
    save_hir(module, path)
    (tmp_path / "m.hir.constants").unlink()
    again = load_hir(path)
    assert print_op(again) == print_op(module)
    with pytest.raises(IRError, match=r"is not in the store; is the \.constants file missing\?"):
        again.constants.array(next(walk(again, Constant)).value)
    save_hir(again, tmp_path / "n.hir")
    assert (tmp_path / "n.hir").read_bytes() == path.read_bytes()


def test_constants_of_an_older_module_do_not_stay(tmp_path: Path) -> None:
    save_hir(_module(), tmp_path / "m.hir")
    save_hir(parse_module(""), tmp_path / "m.hir")
    assert [p.name for p in tmp_path.iterdir()] == ["m.hir"]


def test_nothing_is_left_beside_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "m.hir").mkdir()
    with pytest.raises(OptionError, match=r"m.hir: cannot be written: it is there and is no file"):
        save_hir(parse_module(""), tmp_path / "m.hir")
    assert [p.name for p in tmp_path.iterdir()] == ["m.hir"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "starts with b'', expected b'hrconst1'"),
        (lambda data: b"PK" + data[2:], "starts with b'PK"),
        (lambda data: data[:-1], "array ends at byte"),
        (lambda data: data.replace(b" f32 ", b" f23 "), "expected digest, offset, element type and dims"),
        (lambda data: data[:-1] + b"\x7f", "has other bytes than its digest says"),
    ],
)
def test_damaged_constants(tmp_path: Path, damage: object, message: str) -> None:
    save_hir(_module(), tmp_path / "m.hir")
    beside = tmp_path / "m.hir.constants"
    assert callable(damage)
    beside.write_bytes(damage(beside.read_bytes()))
    with pytest.raises(IRError) as caught:
        load_hir(tmp_path / "m.hir")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(beside))


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_bytes(b"\xff\xfe")
    with pytest.raises(ParseError, match=r"byte 0 is no UTF-8; is this a \.hir file\?"):
        load_hir(tmp_path / "m.hir")
    with pytest.raises(IRError, match=r"none.hir: no such file or directory"):
        load_hir(tmp_path / "none.hir")
