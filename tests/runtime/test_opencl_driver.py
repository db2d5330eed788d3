"""The OpenCL driver on a library whose calls fail one after the other: nothing is left, and each failure has a text."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_every_call_may_fail(
    build_driver: Callable[..., Callable[..., str]], require_tool: Any, tmp_path: Path
) -> None:
    fake = tmp_path / "fake.so"
    flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC"]
    sources = [f"-I{ROOT}/runtime/src", f"-I{ROOT}/runtime/include", HERE / "fake_opencl.c"]
    subprocess.run([require_tool("gcc"), *flags, *sources, "-o", fake], check=True)
    lines = build_driver("asan", "opencl_faults.c")(fake).splitlines()
    assert lines[:9] == [
        "opencl: kernel 'k' has workgroups of 65; this device takes at most 64",
        "opencl: kernel 'k' needs 65 bytes of local memory; this device has 64",
        "opencl: kernel 'k' needs cl_khr_fp16, which this device has not",
        *["opencl: the table of kernels does not end where it should"] * 3,
        "opencl: a buffer of 2147483648 bytes; this device has at most 1073741824 in one",
        *[f"opencl: fake device has no '{feature}'" for feature in ("cpu", "cl_khr_fp16")],
    ]
    for line in (
        "opencl: no device on the platforms there are: Fake",
        "opencl: clCreateContext gave -6: out of host memory",
        "opencl: the program does not build: error: line 3 is wrong",
        "opencl: k gave -5: out of resources",
        "opencl: the end of a run gave -36: the command queue is lost",
    ):
        assert line in lines
