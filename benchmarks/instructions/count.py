"""Instructions of one run of a model.  In: a model, a preset.  Out: a number.

What is counted is headrace-run with one thread: three runs less one run, halved, so that neither loading nor the plan
of the first run counts.  x86-64 runs in callgrind, which has no AVX-512; aarch64 in qemu with a plugin of ours.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

import headrace
from benchmarks.models import Model
from headrace.codegen.workers import host
from headrace.targets import find_target

ROOT = Path(__file__).parents[2]
PRESETS = ("x86-64-v2", "x86-64-v3", "aarch64")
Counter = Callable[[Sequence[object]], int]  # arguments of headrace-run -> instructions


class NotHere(Exception):
    """This machine cannot count for that preset; the text says why."""


def counter(preset: str, folder: Path) -> Counter:
    """Counts for a preset; `folder` is for what it builds and writes.  Raises NotHere."""
    return _qemu(folder) if preset == "aarch64" else _callgrind(preset, folder)


def instructions(model: Model, preset: str, count: Counter, folder: Path) -> int:
    """Of one run."""
    graph, inputs = model
    onnx.save(graph, folder / "m.onnx")
    headrace.compile(folder / "m.onnx", output=folder / "m.hrm", target=preset)
    options: list[object] = [folder / "m.hrm", "--threads", 1, "--output-dir", folder]
    for name, array in inputs.items():
        np.save(folder / f"{name}.npy", array)
        options += ["--input", f"{name}={folder / name}.npy"]
    return round((count([*options, "--runs", 3]) - count([*options, "--runs", 1])) / 2)


def _callgrind(preset: str, folder: Path) -> Counter:
    missing = set(find_target(preset)[1].required_features(preset)) - set(host().features)
    if missing:
        raise NotHere(f"this machine lacks {', '.join(sorted(missing))}")
    program, valgrind = _headrace_run(), _tool("valgrind")
    found = folder / "callgrind.out"

    def count(options: Sequence[object]) -> int:
        _run(valgrind, "--tool=callgrind", f"--callgrind-out-file={found}", program, *options)
        return _number(r"^(?:totals|summary): (\d+)", found.read_text())

    return count


def _qemu(folder: Path) -> Counter:
    qemu, gcc, cross = (_tool(name) for name in ("qemu-aarch64", "gcc", "aarch64-linux-gnu-gcc"))
    plugin, build = folder / "icount.so", folder / "aarch64"
    _run(gcc, "-std=c11", "-O2", "-shared", "-fPIC", Path(__file__).with_name("icount.c"), "-o", plugin)
    about = {
        "CMAKE_C_COMPILER": cross,
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_EXE_LINKER_FLAGS": "-static",
        "CMAKE_MAKE_PROGRAM": _tool("ninja"),
        "HEADRACE_PYTHON": "OFF",
    }
    cmake = _tool("cmake")
    _run(cmake, "-S", ROOT, "-B", build, "-G", "Ninja", *(f"-D{name}={value}" for name, value in about.items()))
    _run(cmake, "--build", build, "--target", "headrace-run")

    def count(options: Sequence[object]) -> int:
        # The first Armv8: what lies beyond the preset would not go unnoticed.
        said = _run(qemu, "-cpu", "cortex-a53", "-plugin", plugin, build / "headrace-run", *options)
        return _number(r"^instructions: (\d+)", said)

    return count


def _headrace_run() -> Path:
    """The program that came with the package: beside it where it was built in place, else installed."""
    import headrace.runtime

    built = Path(headrace.runtime.__path__[0]) / "headrace-run"
    return built if built.exists() else Path(sysconfig.get_path("scripts")) / "headrace-run"


def _tool(name: str) -> str:
    # cmake and ninja come with the tests' requirements, into the environment's own folder, newer than a machine's own.
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise NotHere(f"{name} is not on PATH")
    return found


def _run(*command: object) -> str:
    """What it said on stderr."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stderr


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no count in what was said:\n{text}")
    return int(found[1])
