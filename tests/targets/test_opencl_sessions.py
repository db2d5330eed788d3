"""Sessions on PoCL in one process: several at once, closed in any order, in threads, after a fork, of many shapes."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import compile
from headrace.runtime.python import Session, load
from headrace.targets import find_target

DEVICE = "opencl:Portable Computing Language"

pytestmark = pytest.mark.usefixtures("opencl")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's, for the device alone, for both, and for a CPU: `device` picks."""
    cpu, _ = find_target("host")
    path = tmp_path_factory.mktemp("sessions") / "m.hrm"
    compile(model_path(), output=path, target=["opencl", f"opencl+{cpu}", cpu])
    return path


def agree(session: Session, expected: Session, rng: np.random.Generator) -> None:
    """On a batch of any size."""
    x = rng.random((int(rng.integers(0, 20)), 1, 8, 8), np.float32)
    found, right = (s.run({"image": x})["probabilities"] for s in (session, expected))
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


def test_sessions_are_closed_in_any_order(model: Path) -> None:
    rng, cpu = np.random.default_rng(0), load(model, device="cpu")
    devices = (DEVICE, f"opencl+{cpu.target}", DEVICE)
    for order in permutations(range(3)):
        sessions = {i: load(model, device=device) for i, device in enumerate(devices)}
        for number in order:
            for session in sessions.values():
                agree(session, cpu, rng)
            del sessions[number]


def test_each_thread_has_sessions_of_its_own(model: Path) -> None:
    """Opened, run and closed at once."""
    wrong: list[BaseException] = []

    def work(seed: int) -> None:
        rng, cpu = np.random.default_rng(seed), load(model, device="cpu", threads=1)
        try:
            for _ in range(5):
                session = load(model, device=DEVICE)
                for _ in range(8):
                    agree(session, cpu, rng)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def run_python(code: str, model: Path) -> str:
    """What a process of its own prints, without what PoCL says of warnings."""
    command = [sys.executable, "-c", code, str(model), DEVICE]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


REFUSED = """
import sys, headrace.runtime.python as hr

try:
    hr.load(sys.argv[1], device=sys.argv[2])
except hr.UnsupportedError as error:
    print(error)
"""


def test_no_driver_is_installed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    expected = "opencl: no platform; install the driver (ICD) of a device, such as PoCL for CPUs\n"
    assert run_python(REFUSED, model) == expected


FORKED = """
import os, sys, numpy as np, headrace.runtime.python as hr

x = np.zeros((3, 1, 8, 8), np.float32)
session = hr.load(sys.argv[1], device=sys.argv[2])
session.run({"image": x})

def in_child(act):
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return
    try:
        act()
    except hr.HeadraceRuntimeError as error:
        print(type(error).__name__, str(error).replace(str(os.getppid()), "PARENT"), flush=True)
    sys.exit(0)

in_child(lambda: session.run({"image": x}))
in_child(lambda: session.run({"image": x[:2]}))
in_child(lambda: hr.load(sys.argv[1], device=sys.argv[2]))
in_child(lambda: hr.load(sys.argv[1], device="cpu").run({"image": x}))
session.run({"image": x})
"""


def test_a_forked_process_is_told(model: Path) -> None:
    """It would wait for threads of the OpenCL library that only its parent has."""
    why = "opencl: process PARENT opened OpenCL before this one was forked from it; fork before, or spawn the process"
    assert run_python(FORKED, model).splitlines() == [f"DeviceError {why}"] * 3


SHAPES = """
import sys, numpy as np, headrace.runtime.python as hr

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:"))

rng, most = np.random.default_rng(0), 300
session = hr.load(sys.argv[1], device=sys.argv[2])
held = []
for count in (30, 400):
    for size in [most, *rng.integers(0, most, count)]:
        session.run({"image": np.ones((size, 1, 8, 8), np.float32)})
    held.append(resident())
print(held[1] - held[0])
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="the resident set is read from /proc")
def test_many_shapes_take_no_memory(model: Path) -> None:
    """Once the largest has been there."""
    assert int(run_python(SHAPES, model)) < 2 << 20
