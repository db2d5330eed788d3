"""Prints what kernels reach of the measured peak of a core, for each preset of this machine with multiply-add.

    python -m benchmarks.kernels            one thread, pinned to the last CPU this process may use

Each figure is the fastest of many short runs of the installed C runtime, the call included: on a shared machine the
median tells of the neighbours, the minimum of the code.  Peak and kernel alternate, so that drift hits both.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.kernels.gemm import gemm_module
from benchmarks.kernels.peak import peak_kernel
from headrace.compiler.driver import compile
from headrace.ir.constants import Array
from headrace.ir.text import save_hir
from headrace.runtime.python import load
from headrace.targets import find_target, list_targets

SHAPES = ((128, 768, 768), (128, 768, 3072))  # rows (a symbol of the compiled kernel), inner, columns
ROUNDS = 40


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    host, family = find_target("host")
    presets = [p for p, target in list_targets().items() if target is family]
    able = [p for p in presets[: presets.index(host) + 1] if family.presets[p].has_fma]
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        for preset in able:
            peak = _peak(preset, Path(folder))
            for rows, inner, columns in SHAPES:
                gemm = _gemm(preset, rows, inner, columns, Path(folder))
                best = [max(pair) for pair in zip(*((peak(), gemm()) for _ in range(ROUNDS)), strict=True)]
                print(
                    f"{preset}  gemm {rows}x{inner}x{columns}: {best[1]:6.1f} GFLOP/s of {best[0]:6.1f} at the peak, "
                    f"{100 * best[1] / best[0]:5.1f} %"
                )


def _peak(preset: str, folder: Path) -> Callable[[], float]:
    """A function that measures once, in GFLOP/s."""
    _, target = find_target(preset)
    peak = peak_kernel(target.presets[preset])
    source = folder / "peak.hir"
    source.write_text(peak.text)
    compile(source, output=folder / f"peak-{preset}.hrm", target=preset, pipeline="graph.dce")
    x = np.full(target.presets[preset].lanes(4), 1e-3, np.float32)
    return _timed(folder / f"peak-{preset}.hrm", x, np.empty_like(x), peak.operations)


def _gemm(preset: str, rows: int, inner: int, columns: int, folder: Path) -> Callable[[], float]:
    save_hir(gemm_module(inner, columns), folder / "gemm.hir")
    artefact = folder / f"gemm-{preset}-{columns}.hrm"
    compile(folder / "gemm.hir", output=artefact, target=preset)
    x = np.random.default_rng(1).standard_normal((rows, inner), np.float32)
    return _timed(artefact, x, np.empty((rows, columns), np.float32), 2 * rows * inner * columns)


def _timed(artefact: Path, x: Array, y: Array, operations: int) -> Callable[[], float]:
    session = load(artefact, threads=1)
    session.run({"x": x}, outputs={"y": y})

    def measure() -> float:
        started = time.perf_counter()
        session.run({"x": x}, outputs={"y": y})
        return operations / (time.perf_counter() - started) / 1e9

    return measure


if __name__ == "__main__":
    main()
