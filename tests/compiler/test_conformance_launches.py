"""The suite's launches, faults and threads: drivers with planted bugs are caught, and one that runs kernels passes."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from headrace.compiler.cli import main
from headrace.compiler.conformance import samples
from headrace.compiler.conformance.contract import check_contract
from headrace.compiler.conformance.faults import check_faults
from headrace.compiler.conformance.launches import check_launches
from headrace.compiler.conformance.operators import Place, check_operators
from headrace.compiler.conformance.watched import Tell, watched
from headrace.ir.errors import CodegenError, HeadraceError
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.types import DTYPES, F32
from headrace.runtime.python import Call, Fault, HostedDriver
from headrace.runtime.python.calling import Driver
from headrace.targets import find_target

HOST = find_target("host")[0]
KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, *(ctypes.c_void_p,) * 3, ctypes.c_int64, ctypes.c_int64)
SCRATCH = 1 << 20


class Runs(HostedDriver):
    """Keeps all promises: runs the CPU's code on memory of its own."""

    name = "runs"
    stands_for = "cpu"
    threads: ClassVar[dict[int, int]] = {}

    def load(self, image: bytes) -> mmap.mmap:
        code = mmap.mmap(-1, len(image), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(image)
        return code

    def launch(self, module: mmap.mmap, call: Call) -> Fault | None:
        return self.run(module, call, call.tasks)

    def run(self, module: mmap.mmap, call: Call, tasks: int) -> Fault | None:
        """The kernel on [0, tasks)."""
        scratch = np.zeros(SCRATCH, np.uint8)
        start = scratch.ctypes.data + -scratch.ctypes.data % 64
        kernel = KERNEL(ctypes.addressof(ctypes.c_char.from_buffer(module)) + call.entry)
        buffers = (ctypes.c_void_p * len(call.buffers))(*(b.ctypes.data for b in call.buffers))
        scalars = (ctypes.c_int64 * max(1, len(call.scalars)))(*call.scalars)
        site = kernel(buffers, scalars, start, 0, tasks)
        values = (ctypes.c_int64 * 2).from_address(start)
        return Fault(site, (values[0], values[1])) if site else None

    def _module_unload(self, device: int, handle: int) -> None:
        self._modules.pop(handle)

    def _queue_open(self, device: int, options: Any, out: Any) -> None:
        super()._queue_open(device, options, out)
        self.threads[out[0]] = options[0].threads


class ForgetsOffsets(Runs):
    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        for i in range(launch[0].buffer_count):
            launch[0].buffers[i].offset = 0
        super()._launch(queue, launch, fault)


class CutsOffsets(Runs):
    """To what a device likes."""

    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        for i in range(launch[0].buffer_count):
            launch[0].buffers[i].offset &= ~63
        super()._launch(queue, launch, fault)


class WritesBehind(Runs):
    def launch(self, module: Any, call: Call) -> Fault | None:
        found = super().launch(module, call)
        call.buffers[-1][-200:] = 1
        return found


class LeavesOut(Runs):
    """The last task, where there are several threads."""

    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        launch[0].tasks -= self.threads[queue] > 1 and launch[0].tasks > 8
        super()._launch(queue, launch, fault)


class LaunchesLate(Runs):
    """When something is downloaded: copies overtake kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[Any] = []

    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        whole = type(launch[0]).from_buffer_copy(launch[0])
        whole.buffers = (type(launch[0].buffers[0]) * whole.buffer_count)(*launch[0].buffers[: whole.buffer_count])
        whole.scalars = (ctypes.c_int64 * max(1, whole.scalar_count))(*launch[0].scalars[: whole.scalar_count])
        whole.name = b"late"
        self.late.append(whole)

    def _download(self, queue: int, target: int, source: Any, size: int) -> None:
        for whole in self.late:
            super()._launch(queue, (whole,), None)
        self.late = []
        super()._download(queue, target, source, size)


class ReadsLate(LaunchesLate):
    """What a launch points to, when that is something else."""

    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        self.late.append(type(launch[0]).from_buffer_copy(launch[0]))


class CountsTooManyParts(Runs):
    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        super()._launch(queue, launch, fault)
        if launch[0].parts:
            launch[0].part_count[0] = self.threads[queue] + 1


class BlamesTheFirst(Runs):
    def _finish(self, queue: int, fault: Any) -> None:
        super()._finish(queue, fault)
        fault[0].index = 0


class LosesUpperHalves(Runs):
    def _finish(self, queue: int, fault: Any) -> None:
        super()._finish(queue, fault)
        fault[0].values[0] &= 0xFFFFFFFF


class TellsTheLast(Runs):
    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        before = self._faults.pop(queue, None)
        super()._launch(queue, launch, fault)
        if before is not None:
            self._faults.setdefault(queue, before)


class TellsNothing(Runs):
    def _finish(self, queue: int, fault: Any) -> None:
        """Leaves the record as it was."""


class TellsAgain(Runs):
    told: Any = None

    def _finish(self, queue: int, fault: Any) -> None:
        super()._finish(queue, fault)
        if fault[0].site:
            self.told = type(fault[0]).from_buffer_copy(fault[0])
        elif self.told is not None:
            fault[0] = self.told


class TakesAnyName(Runs):
    def _open(self, options: Any, out: Any) -> None:
        out[0] = next(self._numbers)


class SharesStaging(Runs):
    staging = b""

    def _upload(self, queue: int, target: Any, source: int, size: int) -> None:
        self.staging = ctypes.string_at(source, size)
        time.sleep(0.001)
        super()._upload(
            queue, target, ctypes.cast(self.staging, ctypes.c_void_p).value or 0, min(size, len(self.staging))
        )


class Leaks(Runs):
    """As a device with 256 MiB."""

    taken = 0

    def _alloc(self, device: int, size: int, out: Any) -> None:
        if self.taken + size > 256 << 20:
            raise MemoryError
        self.taken += size
        super()._alloc(device, size, out)


class FinishesEarly(Runs):
    """Copies wait until their queue has something to download."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[int, list[Any]] = {}

    def _copy(self, queue: int, target: Any, source: Any, size: int) -> None:
        kind = type(target)
        places = kind(target.handle, target.offset), kind(source.handle, source.offset)
        self.late.setdefault(queue, []).append((*places, size))

    def _download(self, queue: int, target: int, source: Any, size: int) -> None:
        for waiting in self.late.pop(queue, []):
            super()._copy(queue, *waiting)
        super()._download(queue, target, source, size)


def _broken(driver: HostedDriver) -> dict[str, str]:
    """What is wrong, by the promises that are broken."""
    place, called = Place(HOST, driver.name, [driver]), Driver.of(driver)
    found = itertools.chain(check_contract(called), check_launches(called, place), check_faults(place))
    return {v.promise: v.wrong for v in found if v.wrong is not None}


def test_a_driver_that_runs_kernels_keeps_every_promise() -> None:
    assert _broken(Runs()) == {}


@pytest.mark.parametrize(
    ("bug", "promise", "wrong"),
    [
        (ForgetsOffsets, "A kernel's buffers lie at offsets", "its result at 200: output 0 at ["),
        (CutsOffsets, "A kernel's buffers lie at offsets", "its result at 200: output 0 at ["),
        (WritesBehind, "A kernel's buffers lie at offsets", "has written 1 bytes behind its result"),
        (LeavesOut, "Any number of threads", "tasks on 2 threads: output 0 at ["),
        (LaunchesLate, "A launch happens after", "a copy behind it"),
        (ReadsLate, "A kernel's buffers lie at offsets", ""),
        (CountsTooManyParts, "A profile has at most", "tells of 2 parts, where there is room for 1"),
        (BlamesTheFirst, "What a kernel finds wrong", "expected \"node 'second': index"),
        (LosesUpperHalves, "What a kernel finds wrong", "expected \"node 'first': index 1099511627777"),
        (TellsTheLast, "Of several faults", "expected \"node 'first': index 8"),
        (TellsNothing, "What a kernel finds wrong", "the error is None, expected \"node 'first': index 7"),
        (TellsAgain, "A fault is told once", "a run in which all is right ends with the error"),
        (TakesAnyName, "A device that there is not", "open gives a device"),
        (SharesStaging, "Two threads use a queue each", "while another is used: byte"),
        (Leaks, "Memory that is released", "runs: MemoryError"),
        (FinishesEarly, "What a run has written is seen", "memory after another queue's run: byte"),
    ],
)
def test_a_planted_bug_is_caught(bug: type[HostedDriver], promise: str, wrong: str) -> None:
    broken = _broken(bug())
    (found,) = [text for name, text in broken.items() if name.startswith(promise)]
    assert wrong in found


def test_larger_dims_are_run_too() -> None:
    """A bug that only many rows bring out."""

    class Forgets(Runs):
        def launch(self, module: Any, call: Call) -> Fault | None:
            return self.run(module, call, min(call.tasks, 12))

    (cell,) = [c for c in check_operators(Place(HOST, "runs", [Forgets()]), ["graph.softmax"]) if c.dtype == "f32"]
    assert cell.outcome == "wrong"


def test_an_instance_that_the_target_takes_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    family = find_target(HOST)[1]

    def refuses(self: Any, operation: Any, preset: str) -> str | None:
        takes = isinstance(operation, Reduce) and operation.kind == "max"
        return None if takes else "it takes maxima only"

    monkeypatch.setattr(type(family), "refuses", refuses)
    found = samples.instance_of(Reduce, F32, HOST)
    assert found is not None
    assert samples.refusal(found, HOST) is None


def test_casts_of_every_type_are_sampled() -> None:
    cast = next(c for c in samples.classes() if c.name == "graph.cast")
    assert all(samples.instance_of(cast, dtype, HOST) is not None for dtype in DTYPES.values())


def test_what_is_taken_and_does_not_compile_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **named: Any) -> None:
        raise CodegenError("kernel.exp at 'exp_0': no such instruction")

    monkeypatch.setattr("headrace.compiler.conformance.operators.compile_module", fails)
    cells = list(check_operators(Place(HOST, "cpu"), ["graph.exp"]))
    assert {c.outcome for c in cells} == {"refused"}
    assert cells[0].reason == (
        "the target takes it, and a model that has it does not compile: kernel.exp at 'exp_0': no such instruction"
    )


def test_a_driver_that_ends_the_process_is_told_with_its_place() -> None:
    def work(tell: Tell) -> Iterator[int]:
        tell("graph.add")
        yield 1
        tell("graph.sub")
        os.abort()

    answers = watched(work)
    assert next(answers) == 1
    with pytest.raises(HeadraceError, match=r"the driver has ended the process \(SIGABRT\) at: graph\.sub$"):
        next(answers)


def test_what_the_child_raises_is_raised() -> None:
    def work(tell: Tell) -> Iterator[int]:
        yield 1
        raise HeadraceError("it does not go on")

    with pytest.raises(HeadraceError, match="it does not go on"):
        list(watched(work))


def test_the_cpu_has_one_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "cpu:7", "--operation", "graph.relu"]) == 2
    assert "cpu: there is no device '7'; there is one, 0" in capsys.readouterr().out
