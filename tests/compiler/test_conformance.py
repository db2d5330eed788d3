"""The suite for drivers: those at hand pass, and drivers with planted bugs are caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from null_driver import build_null

from headrace.compiler.cli import cli, main
from headrace.compiler.conformance.contract import check_contract
from headrace.compiler.conformance.operators import Place, check_operators
from headrace.runtime.python import Call, Fault, HostedDriver
from headrace.runtime.python.calling import Driver, open_driver

FEW = ("graph.add", "graph.conv", "graph.matmul", "graph.reduce", "graph.softmax", "graph.gather")


@pytest.fixture(scope="session")
def null(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("gcc")
    return build_null(tmp_path_factory.mktemp("null"))


def _broken(driver: Driver) -> dict[str, str]:
    """The promises that it breaks, by how they begin."""
    return {v.promise.partition(" ")[0]: v.wrong for v in check_contract(driver) if v.wrong is not None}


class Memory(HostedDriver):
    """Keeps all promises; runs nothing."""

    name = "memory"

    def load(self, image: bytes) -> Any:
        return image

    def launch(self, module: Any, call: Call) -> Fault | None:
        raise NotImplementedError


class ForgetsOffsets(Memory):
    def _copy(self, queue: int, target: Any, source: Any, size: int) -> None:
        source.offset = 0
        super()._copy(queue, target, source, size)


class CopiesLate(Memory):
    """What is asked for first is done last."""

    late: tuple[Any, ...] = ()

    def _copy(self, queue: int, target: Any, source: Any, size: int) -> None:
        self.late = (
            queue,
            type(target)(target.handle, target.offset),
            type(source)(source.handle, source.offset),
            size,
        )

    def _download(self, queue: int, target: int, source: Any, size: int) -> None:
        if self.late:
            super()._copy(*self.late)
            self.late = ()
        super()._download(queue, target, source, size)


class WritesTooMuch(Memory):
    def _upload(self, queue: int, target: Any, source: int, size: int) -> None:
        super()._upload(queue, target, source, size)
        behind = self._at(target)[size : size + 1]
        behind[:] = 0


class GivesOneHandle(Memory):
    def _alloc(self, device: int, size: int, out: Any) -> None:
        self._memory[1] = np.empty(1 << 20, np.uint8)
        if size > 1 << 20:
            raise MemoryError
        out[0] = 1

    def _release(self, device: int, handle: int, size: int) -> None:
        """It is one for all."""


class PromisesTooMuch(Memory):
    def _alloc(self, device: int, size: int, out: Any) -> None:
        super()._alloc(device, min(size, 1 << 20), out)


class FindsFaults(Memory):
    def _finish(self, queue: int, fault: Any) -> None:
        fault[0].site = 3


class StaysBroken(Memory):
    failed = False

    def _alloc(self, device: int, size: int, out: Any) -> None:
        self.failed = self.failed or size > 1 << 40
        if self.failed:
            raise MemoryError
        super()._alloc(device, size, out)


def test_the_drivers_at_hand_keep_every_promise(null: Path) -> None:
    for driver in (open_driver("cpu"), open_driver("null", [null]), Driver.of(Memory())):
        assert _broken(driver) == {}, driver.name


@pytest.mark.parametrize(
    ("bug", "promise"),
    [
        (ForgetsOffsets, "Copies"),
        (CopiesLate, "Steps"),
        (WritesTooMuch, "What"),
        (GivesOneHandle, "Memory"),
        (PromisesTooMuch, "What"),
        (FindsFaults, "Runs"),
        (StaysBroken, "A"),
    ],
)
def test_a_planted_bug_is_caught(bug: type[HostedDriver], promise: str) -> None:
    assert promise in _broken(Driver.of(bug()))


@pytest.mark.parametrize("where", ["upload:1", "queue_open:2", "alloc:4", "begin:1", "finish:3"])
def test_a_device_that_is_lost_breaks_promises_with_its_text(where: str, null: Path) -> None:
    broken = _broken(open_driver(f"null:lost@{where}", [null]))
    assert any(f"the device is lost at {where.replace(':', ' ')}" in wrong for wrong in broken.values())


@pytest.mark.parametrize("device", ["cpu", "null"])
def test_operations_are_right_on_every_type_that_they_have(device: str, null: Path) -> None:
    cells = list(check_operators(Place("host", device, [null]), FEW))
    assert {c.operation for c in cells} == set(FEW)
    assert {"f32", "f64", "f16", "i32", "u8"} <= {c.dtype for c in cells if c.operation == "graph.add"}
    assert [c for c in cells if c.outcome == "wrong"] == []


class Off(HostedDriver):
    """Stands for the CPU, and gives zeros."""

    name = "off"
    stands_for = "cpu"

    def load(self, image: bytes) -> Any:
        return None

    def launch(self, module: Any, call: Call) -> Fault | None:
        for buffer in call.buffers:
            buffer[:] = 0
        return None


def test_a_wrong_result_is_told_with_its_place() -> None:
    (cell,) = [c for c in check_operators(Place("host", "off", [Off()]), ["graph.softmax"]) if c.dtype == "f32"]
    assert cell.outcome == "wrong"
    assert cell.reason.startswith("output 0 at [")


def test_the_command_prints_a_table(null: Path) -> None:
    done = CliRunner().invoke(cli, ["conform", "null", "--driver", str(null), "--operation", "graph.relu"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "ok    The struct has this ABI, a name, and every function"
    assert lines[-2].split()[:3] == ["f64", "f32", "f16"]
    assert lines[-1].split()[:4] == ["graph.relu", "ok", "ok", "ok"]


def test_the_command_fails_in_one_line(null: Path, capsys: Any) -> None:
    arguments = ["conform", "null:lost@upload:1", "--driver", str(null), "--operation", "graph.relu"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("headrace: driver null:lost@upload:1: ")
    assert main(["conform", "gpu"]) == 2
    assert capsys.readouterr().err == "headrace: no driver 'gpu' is built in or installed; name its library by --driver\n"
    assert main(["conform", "cpu", "--operation", "graph.rleu"]) == 2
    assert "'graph.rleu'; did you mean 'graph.relu'?" in capsys.readouterr().err
